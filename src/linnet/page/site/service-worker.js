// Answers for the page's own files from what is kept on the device. Everything else is left to the browser.

importScripts("release.js");

const folder = new URL(".", self.location).href;
const name = `linnet ${folder} ${self.linnetRelease.digest}`;

self.addEventListener("install", (event) => {
  // The engine and the model are kept by the page as it loads them: a browser needs one build of two.
  const files = ["./", ...self.linnetRelease.small];
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(files)));
});

self.addEventListener("activate", (event) => {
  const old = (key) => key.startsWith(`linnet ${folder} `) && key !== name;
  event.waitUntil(
    caches
      .keys()
      .then((keys) => Promise.all(keys.filter(old).map((key) => caches.delete(key))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(folder)) return;
  event.respondWith(
    caches
      .open(name)
      .then((cache) => cache.match(event.request, { ignoreSearch: true }))
      .then((known) => known ?? fetch(event.request)),
  );
});
