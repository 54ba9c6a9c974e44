// The camera of a phone or a computer.

const REASONS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "noCamera",
  OverconstrainedError: "noCamera",
  NotReadableError: "busy",
  AbortError: "busy",
};

export class Camera {
  #video;
  #stream = null;
  #facing = "environment";

  /** Whether there is more than one. */
  hasOther = false;

  /** @param {HTMLVideoElement} video that shows it */
  constructor(video) {
    this.#video = video;
  }

  get isOn() {
    return this.#stream !== null;
  }

  /** Whether it looks at the one who holds it, who expects a mirror. */
  get isMirrored() {
    const facing = this.#stream?.getVideoTracks()[0]?.getSettings().facingMode;
    return (facing ?? this.#facing) === "user";
  }

  /**
   * Starts the camera: the back one first, the other one if asked for.
   *
   * @throws {Error} with the message "insecure", "denied", "noCamera" or "busy"
   */
  async start(other = false) {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("insecure");
    if (other) this.#facing = this.#facing === "user" ? "environment" : "user";
    this.stop();
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: { ideal: this.#facing }, width: { ideal: 1280 }, height: { ideal: 720 } },
      });
      const devices = await navigator.mediaDevices.enumerateDevices();
      this.hasOther = devices.filter(({ kind }) => kind === "videoinput").length > 1;
      this.#video.srcObject = this.#stream;
      await this.#video.play();
    } catch (cause) {
      this.stop();
      throw new Error(REASONS[cause.name] ?? "noCamera", { cause });
    }
  }

  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** The next frame, as an ImageBitmap; null if the camera was stopped meanwhile. */
  async frame() {
    const stream = this.#stream;
    await this.#nextFrame();
    if (this.#stream !== stream || stream === null || this.#video.videoWidth === 0) return null;
    return createImageBitmap(this.#video);
  }

  #nextFrame() {
    return new Promise((resolve) => {
      if (this.#video.requestVideoFrameCallback) {
        this.#video.requestVideoFrameCallback(resolve);
        // A camera that is stopped gives no frame.
        setTimeout(resolve, 1000);
      } else {
        requestAnimationFrame(resolve);
      }
    });
  }
}
