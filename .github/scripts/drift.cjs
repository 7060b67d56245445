// The one issue that tells which regions are not as the program says.
const { existsSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { findIssue, marked } = require("./keep.cjs");

const MARKER = "iam-ha-drift";
const STATES = ["none", "drift", "failed"];
/** Characters of a region's preview that are shown; three of them fit an issue. */
const SHOWN = 18_000;

/** What `drift.sh` has left for each region. A region of which nothing readable is there counts as failed. */
function readStates(folder, regions) {
  const read = (file) => (existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8") : "");
  return regions.map((region) => {
    const state = read(`${region}.state`).trim();
    return { region, state: STATES.includes(state) ? state : "failed", text: read(`${region}.txt`) };
  });
}

/** Opens the issue when a region has drifted, edits it as long as one has or is not known, and closes it when none has. */
async function keepDriftIssue({ github, context, states }) {
  const { issues } = github.rest;
  const kept = await findIssue({ github, context, marker: MARKER });
  const run = `${context.serverUrl}/${context.repo.owner}/${context.repo.repo}/actions/runs/${context.runId}`;
  if (states.every(({ state }) => state === "none")) {
    if (!kept) return;
    const about = { ...context.repo, issue_number: kept.number };
    await issues.createComment({ ...about, body: `Every region is as the program says again: ${run}` });
    await issues.update({ ...about, state: "closed", state_reason: "completed" });
    return;
  }
  const title = titleOf(states);
  const body = marked(MARKER, [`Checked by ${run}.`, ...states.map(sectionOf)].join("\n\n"));
  if (kept) await issues.update({ ...context.repo, issue_number: kept.number, title, body });
  // That a region could not be looked at shows in the failed run; an issue is for drift.
  else if (states.some(({ state }) => state === "drift")) await issues.create({ ...context.repo, title, body });
}

function titleOf(states) {
  const names = (wanted) => states.filter(({ state }) => state === wanted).map(({ region }) => region);
  const [drifted, failed] = [names("drift"), names("failed")];
  return [
    ...(drifted.length > 0 ? [`Drift in ${drifted.join(", ")}`] : []),
    ...(failed.length > 0 ? [`${drifted.length > 0 ? "not" : "Drift not"} known in ${failed.join(", ")}`] : []),
  ].join("; ");
}

function sectionOf({ region, state, text }) {
  if (state === "none") return `## ${region}\n\nAs the program says.`;
  const verdict = state === "drift" ? "Not as the program says:" : "Could not be looked at:";
  // The end tells what was found; four backticks hold whatever the text has.
  const shown = text.length > SHOWN ? `…\n${text.slice(-SHOWN)}` : text;
  return `## ${region}\n\n${verdict}\n\n\`\`\`\`text\n${shown.trim() || "(nothing was left to read)"}\n\`\`\`\``;
}

module.exports = { keepDriftIssue, readStates };
