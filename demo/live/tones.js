// Tones: the names of colours. The style sheets know those of the usual families and of the words
// with a colour of their own; a bundle with other labels brings the rest.

const OWN = new Set(["disgust", "contempt", "neutral"]);
const colours = new Map();

/** Take a bundle's colours, #rrggbb by family or label; `root` is or holds what shows
 * them. */
export function addTones(root, own) {
  const names = Object.keys(own ?? {});
  if (!names.length) return;
  const sheet = new CSSStyleSheet();
  for (const name of names) {
    OWN.add(name);
    colours.set(name, own[name]);
    // As strong as the style sheets' own rules, and after them.
    const tone = `[data-tone="${CSS.escape(name)}"]`;
    sheet.insertRule(`${tone}${tone}${tone} { --tone: ${own[name]} }`);
  }
  const place = root.getRootNode();
  place.adoptedStyleSheets = [...place.adoptedStyleSheets, sheet];
}

/** What a word's colour is called: a tone of its own, else its family's, else `other`. */
export function toneOf(word, familyOf, other = "neutral") {
  return OWN.has(word) ? word : familyOf[word] || other;
}

/** The colour that a bundle brought for a tone, if it did. */
export function broughtColour(tone) {
  return colours.get(tone);
}
