// What every page does.
import "./copy.js";
import "./hints.js";
import "./keys.js";
import "./switch.js";
import "./times.js";
import "./zone.js";
