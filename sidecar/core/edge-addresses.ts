/** Which addresses of another region's edge are used from now on. What does not resolve leaves them as they are: the
 *  name's server may be gone, and the edge still be there. A balancer that gives other addresses each time would have
 *  NGINX reload each time, so a change is taken over at most once in `holdMillis`; the first addresses at once.
 *  @returns sorted, each once; `current` itself where nothing changes */
export function nextAddresses(
  current: readonly string[],
  resolved: readonly string[] | undefined,
  time: { readonly sinceChangeMillis: number; readonly holdMillis: number },
): readonly string[] {
  const found = [...new Set(resolved)].sort();
  if (found.length === 0 || found.join() === current.join()) return current;
  return current.length === 0 || time.sinceChangeMillis >= time.holdMillis ? found : current;
}
