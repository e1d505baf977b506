// The one client of this application. Everything else imports it from here; calls made before it has loaded count.

import { headwater } from '@headwater/web';
// The core, as a file of this application's own: no other host is asked for code.
import wasm from '@headwater/web/headwater.wasm?url';

headwater.load({
  writeKey: import.meta.env.VITE_HEADWATER_KEY,
  endpoint: import.meta.env.VITE_HEADWATER_URL,
  wasm,
  // Page views as the address changes, clicks, engaged time: the table is in the SDK's README.
  autocapture: true,
});

export { headwater };
