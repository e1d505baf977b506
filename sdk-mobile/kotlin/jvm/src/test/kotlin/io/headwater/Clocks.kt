/*
 * The clocks of a testing build of the native library, which no other build has: called by JNA, so that the boundary does not name them. Promises
 * to say which build is needed.
 */
package io.headwater

import com.sun.jna.NativeLibrary
import io.headwater.core.UniffiRustCallStatus

internal object Clocks {
    /** Moves both clocks on. */
    fun pass(headwater: Headwater, ms: Int) = call("pass", headwater, ms)

    /** Sets the device's clock forward, or back. */
    fun setBy(headwater: Headwater, ms: Long) = call("set_clock_by", headwater, ms)

    private fun call(name: String, headwater: Headwater, ms: Any) {
        val function = try {
            NativeLibrary.getInstance("headwater_mobile").getFunction("uniffi_headwater_mobile_fn_method_core_$name")
        } catch (failure: UnsatisfiedLinkError) {
            throw IllegalStateException("this build's clocks cannot be moved: cargo build -p headwater-mobile --features testing", failure)
        }
        val status = UniffiRustCallStatus()
        function.invokeVoid(arrayOf(headwater.core.uniffiCloneHandle(), ms, status))
        status.read()
        check(status.isSuccess()) { "$name failed" }
    }
}
