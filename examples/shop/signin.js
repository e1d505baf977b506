// Signing in: from here on the device's events belong to a known person, and to their team if they name one.

import { $ } from './dom.js';
import { group, identify, reset, track } from './measure.js';
import { open } from './page.js';
import { person, signIn } from './person.js';

open('Sign in');

$('#signin').addEventListener('submit', async (event) => {
  event.preventDefault();
  const before = person();
  const { userId, name, email, team, teamId } = await signIn(Object.fromEntries(new FormData(event.target)));
  if (before && before.userId !== userId) reset(); // nobody signed out: what this one does is not the other's visit
  identify(userId, { name, email });
  if (teamId) group(teamId, { name: team });
  track('Signed In', { method: 'email' });
  const back = new URLSearchParams(location.search).get('back');
  location.assign(back === 'checkout' ? 'checkout.html' : './'); // at once: what is in flight is the SDK's business
});
