/*
 * How far down a page somebody has come, in quarters. Promises at most one read of the layout in 250 ms, in a frame of its own, and
 * at most four events a page. Knows nothing of who reads on: that is `engagement`.
 */
import type { Watch } from "./watch";

/** The eye does not tell it from at once, and it is 1/15 of what scrolling would cost at 60 frames a second. */
const REST_MS = 250;

export const watchScroll = ({ on, send, ending }: Watch) => {
  let deepest = 0;
  let told = 0;
  let scroller: Element | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const read = () => {
    timer = undefined;
    const element = scroller;
    // Applications scroll a part of the page: what is nearly as large as the window is the page.
    if (!element || element.clientHeight < innerHeight / 2 || element.clientWidth < innerWidth / 2) return;
    const { scrollTop, clientHeight, scrollHeight } = element;
    // Rounded up: the last pixel is out of reach on some screens.
    deepest = Math.max(deepest, Math.min(100, Math.ceil(((scrollTop + clientHeight) / scrollHeight) * 100)));
    const quarter = Math.floor(deepest / 25) * 25;
    if (quarter > told) send("Page Scrolled", { depth: (told = quarter) });
  };
  on(document, "scroll", ({ target }) => {
    scroller = target == document ? (document.scrollingElement ?? undefined) : (target as Element);
    timer ??= setTimeout(() => requestAnimationFrame(read), REST_MS);
  });
  ending(() => clearTimeout(timer));

  return {
    /** Per cent of the page, as far as it was scrolled; 0 if it was not. */
    depth: () => deepest,
    turn() {
      deepest = told = 0;
      scroller = undefined;
    },
  };
};
