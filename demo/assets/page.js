// The page's own elements; the live panel brings its own.
import "./notice.js";
import "./clip.js";
import "./camera.js";
