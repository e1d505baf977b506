/*
 * The file `headwater-autocapture.js`: events that a page makes without code of its own. The one place where its parts meet; each part
 * watches one thing and is told when the page becomes another one. Promises that `stop` ends all of it. Knows the SDK by two
 * verbs, `track` and `page`.
 */
import { watchClicks } from "./clicks";
import { watchEngagement } from "./engagement";
import { watchErrors } from "./errors";
import { watchForms } from "./forms";
import { createMasking } from "./masking";
import { watchPages } from "./pages";
import { watchScroll } from "./scroll";
import { createWatch } from "./watch";
import type { AutocaptureOptions, AutocapturePart, Headwater } from "../types";

type Client = Pick<Headwater, "track" | "page">;

/** What runs, and how it ends. */
const running = new WeakMap<Client, () => void>();

/**
 * Begins anew, or ends with `false`. `seen` is the address of the last page view: one that was said before, and those that the page
 * says itself.
 */
export const autocapture = (client: Client, given: boolean | string | AutocaptureOptions = true, seen = () => "") => {
  running.get(client)?.();
  running.delete(client);
  // Where there is no document (a worker, a server) nothing happens in one.
  if (given === false || !globalThis.document) return;
  const options: AutocaptureOptions = typeof given == "object" ? given : {};
  // An attribute holds a list of words; an empty one is everything.
  const only = typeof given == "string" ? given.match(/\w+/g) : options.only;
  const wants = (part: AutocapturePart) => !only || only.includes(part);
  const masking = createMasking(options);
  const { watch, stop } = createWatch(client, () => pages.settle());
  const turns: { turn(): void }[] = [];

  const pages = watchPages(watch, options, wants("pages") ? client.page : undefined, seen, () =>
    turns.forEach((part) => part.turn()),
  );
  const scroll = wants("scroll") ? watchScroll(watch) : undefined;
  if (wants("clicks")) watchClicks(watch, masking);
  if (wants("forms")) watchForms(watch, masking);
  if (wants("engagement"))
    turns.push(watchEngagement(watch, masking, options, () => scroll?.depth() ?? 0, pages.context));
  if (scroll) turns.push(scroll);
  if (wants("errors")) turns.push(watchErrors(watch));
  running.set(client, stop);
};
