/*
 * What the native library calls of rustls-platform-verifier's aar, with the shape that the library checks before it calls anything. Verifies
 * nothing: the Rust side of it is in libraries for Android alone.
 */
package org.rustls.platformverifier

import android.content.Context

@Suppress("unused", "UNUSED_PARAMETER")
internal object CertificateVerifier {
    @JvmStatic
    private fun verifyCertificateChain(
        context: Context,
        serverName: String,
        authMethod: String,
        allowedEkus: Array<String>,
        ocspResponse: ByteArray?,
        time: Long,
        certChain: Array<ByteArray>,
    ): VerificationResult = VerificationResult(code = 1, message = null)
}

@Suppress("unused")
internal class VerificationResult(private val code: Int, private val message: String?)
