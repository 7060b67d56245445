// Comments and issues of ours that are edited in place rather than written anew, known by a marker in their text.

/** Most characters that GitHub takes, with room for what is put around a text. */
const MOST = 65_000;

/** A text with its marker, cut where it is too long; the cut says so. */
function marked(marker, text) {
  const head = `<!-- ${marker} -->\n`;
  const end = "\n\n… cut here: the whole text is in the run's summary and artifacts.";
  const room = MOST - head.length;
  if (text.length <= room) return head + text;
  const cut = text.slice(0, room - end.length - 8);
  // A code block that the cut leaves open would swallow the sentence.
  const open = (cut.match(/^```/gm) ?? []).length % 2 === 1;
  return head + cut + (open ? "\n```" : "") + end;
}

/** Whether it is one of ours: anybody may write the marker, but not as a bot. */
const ours = (marker) => (item) =>
  item.user?.type === "Bot" && (item.body ?? "").startsWith(`<!-- ${marker} -->`) && item.pull_request === undefined;

/** Writes the pull request's comment, or edits the one that is there. */
async function keepComment({ github, context, marker, text }) {
  const { rest } = github;
  const issue_number = context.payload.pull_request.number;
  const comments = await github.paginate(rest.issues.listComments, { ...context.repo, issue_number, per_page: 100 });
  const body = marked(marker, text);
  const kept = comments.find(ours(marker));
  if (kept) await rest.issues.updateComment({ ...context.repo, comment_id: kept.id, body });
  else await rest.issues.createComment({ ...context.repo, issue_number, body });
}

/** The open issue of ours; undefined for none. */
async function findIssue({ github, context, marker }) {
  const issues = await github.paginate(github.rest.issues.listForRepo, {
    ...context.repo,
    state: "open",
    per_page: 100,
  });
  return issues.find(ours(marker));
}

module.exports = { findIssue, keepComment, marked };
