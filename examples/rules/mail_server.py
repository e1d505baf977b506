"""A real SMTP server (aiosmtpd) on loopback, on a free port: prints the port, then each mail that it took, one JSON a line.

Refuses nothing. It ends with its standard input.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        taken = {"to": envelope.rcpt_tos, "from": envelope.mail_from, "subject": mail["subject"], "parts": parts}
        print(json.dumps(taken), flush=True)
        return "250 OK: queued"


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="mail.example", loop=loop), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
