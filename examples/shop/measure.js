// The shop's calls to Headwater, one function for each verb, and nothing else between: `headwater` is the global of the
// snippet in the page. Each call is also noted for the live view (ledger.js); in a shop of your own leave that out.

import { note } from './ledger.js';

export const track = (event, properties) => note('track', event, window.headwater.track(event, properties), about(properties));
export const page = (name, properties) => note('page', name, window.headwater.page(name, properties), properties.path);
export const identify = (userId, traits) => note('identify', '', window.headwater.identify(userId, traits), traits.name);
export const group = (groupId, traits) => note('group', '', window.headwater.group(groupId, traits), traits.name);
export const reset = () => window.headwater.reset();
export const user = () => window.headwater.user?.();

// What rules say to whoever is here: the SDK draws a card. (`push` counts before the script has loaded, too.)
window.headwater.push(['on', 'message', () => {}]);

const about = ({ name, query, step } = {}) => name ?? query ?? (step ? `step ${step}` : '');
