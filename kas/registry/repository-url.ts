/**
 * What two addresses of one repository have in common: `host/path`, whatever the scheme, user, port and ending are.
 * Understands URLs and scp's form (`git@host:path`). Undefined for what names no repository.
 */
export function repositoryUrlKey(address: string): string | undefined {
  const scp = /^(?:[^@/\s]+@)?([^:/\s]+):(?!\/\/)(.+)$/.exec(address);
  const [host, path] = scp === null ? partsOf(address) : [scp[1], scp[2]];
  const trimmed = path?.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
  return host === undefined || host === '' || trimmed === undefined || trimmed === ''
    ? undefined
    : `${host.toLowerCase()}/${trimmed}`;
}

function partsOf(address: string): [string, string] | [] {
  if (!URL.canParse(address)) return [];
  const { hostname, pathname } = new URL(address);
  try {
    return [hostname, decodeURI(pathname)];
  } catch {
    // A "%" that encodes nothing.
    return [];
  }
}
