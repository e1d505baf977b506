// Who is signed in, in this browser only. There is no password and no server: any name will do.

const KEY = 'oxbow.person';

/** `{ userId, name, email, team?, teamId? }` or null. */
export function person() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export async function signIn({ name, email, team }) {
  const signedIn = { userId: `u_${await digest(email)}`, name, email };
  if (team) Object.assign(signedIn, { team, teamId: `team_${await digest(team)}` });
  localStorage.setItem(KEY, JSON.stringify(signedIn));
  return signedIn;
}

export const signOut = () => localStorage.removeItem(KEY);

// The same address is the same user, on every device; the id itself says nothing about them.
async function digest(text) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text.trim().toLowerCase())));
  return [...bytes.slice(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
