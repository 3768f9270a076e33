// The camera: opened after consent, closed for good, its failures in words.

/**
 * Open a camera without sound.
 *
 * @returns {Promise<MediaStream>}; throws CameraError with words for the person in front of it.
 */
export async function openCamera(deviceId = "") {
  if (!navigator.mediaDevices?.getUserMedia) throw new CameraError(fault({ name: "Insecure" }));
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  video[deviceId ? "deviceId" : "facingMode"] = deviceId ? { exact: deviceId } : "user";
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video });
  } catch (error) {
    // A camera chosen earlier may be gone, or one may refuse every wish: any camera will do.
    if (error.name !== "OverconstrainedError") throw new CameraError(fault(error));
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: true });
  } catch (error) {
    throw new CameraError(fault(error));
  }
}

/** Cameras to choose from, `[{id, label}]`; labels are known once a camera has been allowed. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, at) => ({ id: device.deviceId, label: device.label || `Camera ${at + 1}` }));
}

export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

export class CameraError extends Error {}

/** What went wrong and what to do next, for an error of getUserMedia. */
export function fault(error) {
  switch (error.name) {
    case "Insecure":
      return (
        "Browsers give the camera only to pages opened over https, or on the computer that " +
        "serves them. Open this page at its https address or at 127.0.0.1."
      );
    case "NotAllowedError":
    case "SecurityError":
      return (
        "The browser did not allow the camera. Allow it in the camera settings beside the " +
        "address, then start again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Connect one, then start again.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is in use by another program. Close that program, then start again.";
    default:
      return `The camera could not be opened (${error.name || "unknown error"}). Try again.`;
  }
}
