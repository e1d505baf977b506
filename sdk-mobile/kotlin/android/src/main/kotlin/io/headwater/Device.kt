/*
 * What every event says of the phone, in Segment's members. Promises no id but the client's own (and the advertising id, if the app gave it), and
 * nothing that needs a permission.
 */
package io.headwater

import android.app.Application
import android.os.Build
import java.util.Locale
import java.util.TimeZone

internal class Device(private val application: Application, private val advertisingId: String?) {
    fun describe(): Map<String, Any?> {
        val (version, build) = application.version()
        val display = application.resources.displayMetrics
        val device = linkedMapOf<String, Any?>(
            "manufacturer" to Build.MANUFACTURER,
            "model" to Build.MODEL,
            "name" to Build.DEVICE,
            "type" to "android",
        )
        if (advertisingId != null) device += mapOf("advertisingId" to advertisingId, "adTrackingEnabled" to true)
        return mapOf(
            "app" to mapOf(
                "name" to application.applicationInfo.loadLabel(application.packageManager).toString(),
                "version" to version,
                "build" to build,
                "namespace" to application.packageName,
            ),
            "device" to device,
            "os" to mapOf("name" to "Android", "version" to Build.VERSION.RELEASE),
            "screen" to mapOf("width" to display.widthPixels, "height" to display.heightPixels, "density" to display.density),
            "locale" to Locale.getDefault().toLanguageTag(),
            "timezone" to TimeZone.getDefault().id,
        )
    }
}
