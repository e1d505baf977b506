"""A real SMTP server (aiosmtpd) on loopback, on free ports: plain, with STARTTLS, and with TLS from the first byte.

Promises to print its ports, then each mail that it took, one JSON a line; and to do to a mail what its recipient's name says. Knows
nothing of the collector. It ends with its standard input.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

REFUSED = {
    "refused": "550 5.1.1 <{}>: Recipient address rejected: no such user",
    "policy": "550 5.7.1 <{}>: Relay access denied",
    "bare": "550 no such user <{}>",
    "busy": "451 4.3.2 {} is busy, try again later",
}
AFTER_THE_MAIL = {"later": "452 4.3.1 no room for {}", "spam": "554 5.7.1 {} wants no such mail"}


FREED = asyncio.Event()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "frees":
            FREED.set()
        if name == "held":
            print(json.dumps({"held": address}), flush=True)
            await FREED.wait()
            return REFUSED["refused"].format(address)
        if name in REFUSED:
            return REFUSED[name].format(address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        address = envelope.rcpt_tos[0]
        name = address.split("@")[0]
        if name in AFTER_THE_MAIL:
            return AFTER_THE_MAIL[name].format(address)
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None,
            "login": (session.auth_data or b"").decode(),
            "data": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        if name == "lost":
            server.transport.abort()
        if name == "slow":
            await asyncio.sleep(3600)
        return "250 OK: queued"


def authenticate(server, session, envelope, mechanism, data):
    given = (data.login.decode(), data.password.decode())
    # Not handled: the server is to answer a no itself.
    return AuthResult(success=given == ("shop", "open sesame"), handled=False, auth_data=data.login)


async def main():
    certificate, key = sys.argv[1:]
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    login = {"authenticator": authenticate, "auth_required": True}
    kinds = {
        "plain": ({}, {}),
        "starttls": ({"tls_context": tls, "require_starttls": True, **login}, {}),
        # aiosmtpd does not see that the connection is encrypted already.
        "implicit": ({"auth_require_tls": False, **login}, {"ssl": tls}),
    }
    loop, ports = asyncio.get_running_loop(), {}
    for kind, (options, how) in kinds.items():
        make = lambda options=options: SMTP(Handler(), hostname="mail.example", loop=loop, **options)
        server = await loop.create_server(make, "127.0.0.1", 0, **how)
        ports[kind] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
