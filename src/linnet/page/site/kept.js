// The page's own files, kept on the device: the second visit needs no network. The service worker answers from the same
// cache.

import "./release.js";

/** Name of the cache of this page in this release. */
export const cacheName = `linnet ${new URL(".", self.location)} ${self.linnetRelease.digest}`;

/**
 * A file's bytes, from the cache if it is there, and else from the server.
 *
 * @param {string} file beside this one
 * @param {(share: number) => void} [progress] told how much has come, from 0 to 1
 * @throws {Error} with the message "fetch" if it cannot be had
 */
export async function kept(file, progress = () => {}) {
  const address = new URL(file, import.meta.url);
  // Without a secure connection there is no cache, and the page works all the same.
  const cache = await self.caches?.open(cacheName).catch(() => undefined);
  const known = await cache?.match(address);
  if (known) return known.arrayBuffer();
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(response.statusText);
    const bytes = await received(response, progress);
    // A full disk is no reason not to go on.
    await cache?.put(address, new Response(bytes)).catch(() => {});
    return bytes;
  } catch (cause) {
    throw new Error("fetch", { cause });
  }
}

async function received(response, progress) {
  const whole = self.linnetRelease.bytes[new URL(response.url).pathname.split("/").pop()] ?? 0;
  const parts = [];
  let count = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count += value.length;
    if (whole > 0) progress(Math.min(count / whole, 1));
  }
  return new Blob(parts).arrayBuffer();
}
