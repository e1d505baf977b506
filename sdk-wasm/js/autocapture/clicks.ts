/*
 * Clicks on what can be clicked: links, downloads, buttons, and whatever the page's author has named with `data-hw-event`. Promises
 * one event for one click, and no read of a layout or a field. Knows nothing of forms: a named form is named for its submit.
 */
import { addressOf, type Masking } from "./masking";
import type { Watch } from "./watch";
import type { Fields } from "../types";

const LINK = "a[href],area[href]";
const CONTROL =
  LINK +
  ",button,summary,[type=submit],[type=button],[type=reset],[type=image]," +
  "[role=button],[role=link],[role=menuitem],[role=tab]";
const NAMED = "[data-hw-event]:not(form)";
/** The endings that people download rather than look at. */
const FILE =
  /\.(7z|csv|dmg|docx?|epub|exe|gz|mp[34]|msi|pdf|pkg|pptx?|rar|txt|xlsx?|zip)$/i;

export const watchClicks = ({ on, sendOften }: Watch, masking: Masking) =>
  on<MouseEvent>(document, "click auxclick", (event) => {
    const path = masking.pathOf(event);
    const named = path.find((element) => element.matches(NAMED));
    const at = path.findIndex((element) => element.matches(CONTROL));
    const control = path[at];
    const link = control?.matches(LINK) ? control : undefined;
    // The middle button opens links; what else it does is not a click.
    if (!(named || control) || (event.type == "auxclick" && (event.button != 1 || !link))) return;

    const properties: Fields = {};
    let name = "Button Clicked";
    if (link) name = "Link Clicked";
    if (control && masking.isMasked(path.slice(at))) properties.masked = true;
    else if (control) {
      properties.text = masking.labelOf(control);
      properties.id = masking.nameOf(control, "id");
      properties.selector = masking.selectorOf(path.slice(at));
      const address = link && addressOf(link.getAttribute("href")!);
      if (address) {
        const { url, text } = address;
        properties.href = text;
        if (link.hasAttribute("download") || (url.host && FILE.test(url.pathname))) {
          name = "File Downloaded";
          // Of a data: address the path is the file itself.
          if (url.host) properties.file = text.split("/").pop();
        } else if (url.host && url.host != location.host) {
          name = "Outbound Link Clicked";
          properties.host = url.host;
        }
      }
    }
    sendOften(named?.getAttribute("data-hw-event")?.slice(0, 100) || name, { ...properties, ...masking.fieldsOf(named ?? control!) });
  });
