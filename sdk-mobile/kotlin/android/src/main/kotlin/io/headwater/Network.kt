/*
 * What the system says of the network: events say which kind it was, and what waits is sent as it comes back. Promises to go without where the
 * permission was taken away.
 */
package io.headwater

import android.content.Context
import android.net.ConnectivityManager
import android.net.NetworkCapabilities

internal class Network(private val context: Context, private val headwater: Headwater) {
    private val manager = context.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager?

    private val heard = object : ConnectivityManager.NetworkCallback() {
        override fun onAvailable(network: android.net.Network) = quietly { headwater.online() }

        override fun onCapabilitiesChanged(network: android.net.Network, can: NetworkCapabilities) = describe(can)

        override fun onLost(network: android.net.Network) = describe(null)
    }

    private var said: Map<String, Any?>? = null

    @Volatile private var listening = false

    fun listen() {
        try {
            manager?.registerDefaultNetworkCallback(heard)
            listening = manager != null
        } catch (_: RuntimeException) {
            // No permission, or too many that listen already: uploads are tried all the same.
        }
    }

    fun end() {
        if (listening) runCatching { manager?.unregisterNetworkCallback(heard) }
    }

    /** Capabilities change with every bar of the signal: only another kind of network is worth a word. */
    @OptIn(HeadwaterPlatform::class)
    private fun describe(can: NetworkCapabilities?) {
        val now = mapOf(
            "wifi" to (can?.hasTransport(NetworkCapabilities.TRANSPORT_WIFI) == true),
            "cellular" to (can?.hasTransport(NetworkCapabilities.TRANSPORT_CELLULAR) == true),
            "bluetooth" to (can?.hasTransport(NetworkCapabilities.TRANSPORT_BLUETOOTH) == true),
        )
        if (now == said) return
        said = now
        quietly { headwater.describe(mapOf("network" to now), deviceId = true) }
    }

    private fun quietly(act: () -> Unit) {
        try {
            act()
        } catch (_: IllegalStateException) {
            // Closed meanwhile.
        }
    }
}
