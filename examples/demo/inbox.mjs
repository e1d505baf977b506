// Where the demo's messages go: a channel that takes what Slack's incoming webhooks take, and a mail server.
// Promises: both on loopback, on free ports; memory is bounded; what cannot be read is refused as the real ones refuse it. Knows no rule.

import http from 'node:http';
import PostalMime from 'postal-mime';
import { SMTPServer } from 'smtp-server';

const MOST_BYTES = 256 * 1024;

/**
 * @param {(sent: { kind: 'slack' | 'email', at: string, to: string, title: string, lines: string[] }) => void} onMessage
 */
export function createInbox(onMessage) {
  const channel = http.createServer(async (request, response) => {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) if ((size += chunk.length) <= MOST_BYTES) chunks.push(chunk);
    if (request.method !== 'POST' || size > MOST_BYTES) return response.writeHead(400).end('invalid_payload');
    try {
      const message = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      const [title = '', ...lines] = textsOf(message.blocks ?? message);
      onMessage({ kind: 'slack', at: new Date().toISOString(), to: '#success', title, lines });
      response.end('ok');
    } catch {
      response.writeHead(400).end('invalid_payload');
    }
  });
  const mail = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'], // it never leaves this machine
    size: MOST_BYTES,
    async onData(stream, session, done) {
      const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      if (stream.sizeExceeded) return done(Object.assign(new Error('too large'), { responseCode: 552 }));
      const { subject = '', text = '' } = await PostalMime.parse(Buffer.concat(chunks));
      const to = session.envelope.rcptTo.map(({ address }) => address).join(', ');
      onMessage({ kind: 'email', at: new Date().toISOString(), to, title: subject, lines: text.trim().split('\n') });
      done();
    },
  });
  mail.on('error', (error) => console.error(`the demo's mail server: ${error.message}`));

  const listening = (server) => new Promise((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  return {
    start: () => Promise.all([listening(channel), listening(mail.server)]),
    /** What rules send by, as lines of a configuration. */
    toml: () => `[destinations.success]
kind = "slack"
webhook_url = "http://127.0.0.1:${channel.address().port}/success"
allow_private = true # it listens on this machine

[destinations.mail]
kind = "email"
host = "127.0.0.1"
port = ${mail.server.address().port}
tls = "none"
from = "Oxbow <hello@oxbow.example>"
`,
    async stop() {
      channel.close();
      channel.closeAllConnections();
      await new Promise((done) => mail.close(done));
    },
  };
}

/** The texts of a message's blocks, in their order; buttons are left out. */
function textsOf(value, key = '') {
  if (typeof value === 'string') return key === 'text' ? [value] : [];
  if (!value || typeof value !== 'object' || value.type === 'actions') return [];
  return Object.entries(value).flatMap(([name, inner]) => textsOf(inner, Array.isArray(value) ? key : name));
}
