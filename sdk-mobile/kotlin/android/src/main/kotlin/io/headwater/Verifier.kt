/*
 * The set-up of the native library's own HTTP, for those who choose it: rustls asks the system whether a certificate is good, through a class
 * that the app brings, and must be given the app's context before. Promises that it is done before the first request, and that what is missing is a
 * sentence, never a crash. Makes no request.
 */
package io.headwater

import android.content.Context

/** Its native method is found by the names of both: R8 keeps them. */
internal object Verifier {
    /** Makes the library's own HTTP ready: `null`, or why it cannot be used. Loads the library. */
    fun setUp(context: Context): String? {
        val library = System.mapLibraryName(LIBRARY)
        try {
            System.loadLibrary(LIBRARY)
        } catch (failure: UnsatisfiedLinkError) {
            return "$library cannot be loaded (${failure.message})"
        }
        return try {
            prepare(context)
        } catch (_: UnsatisfiedLinkError) {
            "this $library was built without an HTTP of its own: take the aar that has it, or leave the uploader to the system"
        } catch (failure: RuntimeException) {
            "rustls's verifier cannot be set up (${failure.message})"
        }
    }

    @JvmStatic
    private external fun prepare(context: Context): String?
}

private const val LIBRARY = "headwater_mobile"
