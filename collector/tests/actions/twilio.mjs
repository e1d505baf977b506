/*
 * Sends one text with Twilio's own client to a server given as an address: what ours is compared with. Promises the client's own request,
 * but for where it goes; knows nothing of ours.
 */
import twilio from "twilio";

const [base, sid, token, to, from, body] = process.argv.slice(2);
const http = new twilio.RequestClient();
const elsewhere = {
  request: (options) =>
    http.request({ ...options, uri: options.uri.replace("https://api.twilio.com", base) }),
};
const sender = from.startsWith("MG") ? { messagingServiceSid: from } : { from };
const sent = await twilio(sid, token, { httpClient: elsewhere }).messages.create({ to, body, ...sender });
console.log(sent.sid);
