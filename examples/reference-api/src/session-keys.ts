import { createHash, randomBytes } from "node:crypto";

/** How sessions are laid out in Redis, §5.1.3.
 *
 *  A session and its user's mapping change together, so they share a slot of the cluster: both carry the hash tag of
 *  the user, two bytes of a hash of the user's id. The session id begins with the tag, so that the key follows from the
 *  id alone. The list of a server's sessions spans users and cannot be in the same slot: it is an index, written before
 *  the session and pruned by age. */

/** Hash tag of a user: four hex digits, which tell nothing of the user. */
export function userTag(userId: string): string {
  return createHash("sha256").update(userId).digest("hex").slice(0, 4);
}

/** A new session id: the user's tag and 256 random bits. */
export function newSessionId(userId: string): string {
  return `${userTag(userId)}.${randomBytes(32).toString("base64url")}`;
}

const SESSION_ID = /^([0-9a-f]{4})\.([A-Za-z0-9_-]{43})$/;

/** Whether a text has the form of a session id; anything else never reaches Redis. */
export function isSessionId(text: string): boolean {
  return SESSION_ID.test(text);
}

/** `session:{tag}.random`.
 *  @throws RangeError on what is no session id */
export function sessionKey(sessionId: string): string {
  const match = SESSION_ID.exec(sessionId);
  if (!match) throw new RangeError("not a session id");
  return `session:{${match[1]}}.${match[2]}`;
}

/** `user_session:{tag}.user`: the user's latest session, in the same slot as the session. */
export function userSessionKey(userId: string): string {
  return `user_session:{${userTag(userId)}}.${userId}`;
}

/** `server_sessions:{server}`: ids of the sessions made at a server, by the time they end. */
export function serverSessionsKey(serverId: string): string {
  return `server_sessions:{${serverId}}`;
}
