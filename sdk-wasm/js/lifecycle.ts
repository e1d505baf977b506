/*
 * What happens to the page: it is hidden, left, shown again, online again. Promises one word for each; knows nothing of what
 * is done about it. `unload` and `beforeunload` are not listened to: they keep a page out of the back/forward cache. To a worker
 * none of it happens but the last: it is ended without a word.
 */
import { page } from "./event";

export const watchPage = (
  /** The page may be about to go; `gone` says that it does. */
  leaving: (gone: boolean) => void,
  /** The page came back from the back/forward cache. */
  back: () => void,
  online: () => void,
) => {
  addEventListener("pagehide", () => leaving(true));
  addEventListener("pageshow", (event) => event.persisted && back());
  addEventListener("online", online);
  addEventListener("visibilitychange", () => page!.hidden && leaving(false));
};
