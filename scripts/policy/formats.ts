/** Forms in which findings are shown. */
export const FORMATS = ["table", "json", "sarif"] as const;

export type Format = (typeof FORMATS)[number];

/** Exit status where a mandatory rule is broken. */
export const VIOLATED = 1;
/** Exit status where the rules could not be run: a bad argument, configuration or state file, or a pack that fails. */
export const COULD_NOT_RUN = 2;
