/*
 * Forms that are submitted: which, and to where. Promises that neither a field nor its name is read, and that a field which is
 * called `id` or `action` is not taken for the form's own. Knows nothing of what the server says to it.
 */
import { addressOf, type Masking } from "./masking";
import type { Watch } from "./watch";

export const watchForms = ({ on, sendOften }: Watch, masking: Masking) =>
  on(document, "submit", (event) => {
    const path = masking.pathOf(event);
    const form = path[0];
    if (!form) return;
    // Attributes, not properties: `form.action` is the field of that name, if there is one.
    const attribute = (name: string) => masking.nameOf(form, name);
    const { url, text } = addressOf(form.getAttribute("action") ?? "") ?? {};
    sendOften(attribute("data-hw-event") ?? "Form Submitted", {
      ...(masking.isMasked(path)
        ? { masked: true }
        : {
            form_id: attribute("id"),
            form_name: attribute("name"),
            action: url?.origin == location.origin ? text!.slice(location.origin.length) : text,
            method: (attribute("method") ?? "get").toLowerCase(),
          }),
      ...masking.fieldsOf(form),
    });
  });
