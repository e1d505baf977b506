/*
 * What must not be lost, whatever the collector does: each scenario's calls must all be stored, each once, in order, with numbers that
 * have no gaps. Promises to wait for conditions, never for luck; knows no engine.
 */
import assert from "node:assert/strict";
import { down, gapless } from "../collector.mjs";
import { expected } from "./shop.mjs";

export const delivery = {
  "unreachable, 200 events, then a reload with the collector back: all arrive, and nobody nudges": async (shop) => {
    shop.collector.respond = down;
    const page = await shop.open();
    await shop.track(page, 200);
    await shop.requested();
    shop.collector.respond = undefined;
    await shop.reload(page);
    await shop.stored(200);
    shop.complete(200);
  },
};
