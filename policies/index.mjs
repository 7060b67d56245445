// The engine's loader would compile a TypeScript entry with its own compiler; Node runs the pack as it is.
import "./pack.ts";
