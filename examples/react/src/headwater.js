// The one client of this application. Everything else imports it from here; calls made before it has loaded count.

import { headwater } from '@headwater/web';

headwater.load({
  writeKey: import.meta.env.VITE_HEADWATER_KEY,
  endpoint: import.meta.env.VITE_HEADWATER_URL,
  // Page views as the address changes, clicks, engaged time: the table is in the SDK's README.
  autocapture: true,
});

export { headwater };
