// Plain words for the face's muscle movements, and both sides of a face taken together. Pure.

const NAMES = {
  browDown: "Brows lowered",
  browInnerUp: "Inner brows raised",
  browOuterUp: "Outer brows raised",
  cheekPuff: "Cheeks puffed",
  cheekSquint: "Cheeks raised",
  eyeBlink: "Eyes closed",
  eyeSquint: "Eyes narrowed",
  eyeWide: "Eyes wide",
  jawForward: "Jaw forward",
  jawLeft: "Jaw to one side",
  jawRight: "Jaw to one side",
  jawOpen: "Jaw open",
  mouthClose: "Lips together",
  mouthDimple: "Dimples",
  mouthFrown: "Mouth corners down",
  mouthFunnel: "Lips rounded",
  mouthLeft: "Mouth to one side",
  mouthRight: "Mouth to one side",
  mouthLowerDown: "Lower lip down",
  mouthPress: "Lips pressed",
  mouthPucker: "Lips puckered",
  mouthRollLower: "Lower lip rolled in",
  mouthRollUpper: "Upper lip rolled in",
  mouthShrugLower: "Chin raised",
  mouthShrugUpper: "Upper lip pushed up",
  mouthSmile: "Mouth corners up",
  mouthStretch: "Mouth stretched",
  mouthUpperUp: "Upper lip raised",
  noseSneer: "Nose wrinkled",
};

/** The name of one movement in plain words; its side is left out. */
export function movementName(name) {
  if (name in NAMES) return NAMES[name];
  const base = name.replace(/(Left|Right)$/, "");
  return NAMES[base] ?? base;
}

/**
 * `{name: 0..1}` of the server by plain names; of two sides the stronger one counts.
 *
 * Where the eyes look is left out: it is no expression.
 */
export function movements(blendshapes) {
  const found = {};
  for (const [name, value] of Object.entries(blendshapes ?? {})) {
    if (name.startsWith("_") || name.startsWith("eyeLook")) continue;
    const plain = movementName(name);
    found[plain] = Math.max(found[plain] ?? 0, value);
  }
  return found;
}
