/*
 * What an app gets with the aar: no permission that anybody is asked for, rules that keep what is found by name, files that Android can map
 * with pages of 16 KB, and the members that the last release had.
 */
package io.headwater

import android.content.ContextWrapper
import java.io.File
import java.lang.reflect.Modifier
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import javax.xml.parsers.DocumentBuilderFactory
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class ShippedTest {
    private val folder = File(System.getProperty("headwater.basedir"))

    @Test
    fun `the manifest asks for nothing but the network`() {
        val manifest = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(File(folder, "src/main/AndroidManifest.xml"))
        fun named(tag: String) = manifest.getElementsByTagName(tag).let { all -> (0 until all.length).map { all.item(it).attributes } }
        val permissions = named("uses-permission").map { it.getNamedItem("android:name").nodeValue.removePrefix("android.permission.") }
        assertEquals(listOf("INTERNET", "ACCESS_NETWORK_STATE"), permissions)
        val service = named("service").single()
        assertEquals(HeadwaterUploadJob::class.java.name, service.getNamedItem("android:name").nodeValue)
        assertEquals("false", service.getNamedItem("android:exported").nodeValue)
    }

    @Test
    fun `the job is kept by its name`() {
        assertTrue(HeadwaterUploadJob::class.java.name in File(folder, "src/main/r8/proguard.txt").readText())
    }

    @Test
    fun `what the native library calls by name is kept`() {
        val rules = File(folder, "src/main/r8/proguard.txt").readText()
        assertTrue("-keep class ${Verifier::class.java.name} { native <methods>; }" in rules)
        assertTrue("class org.rustls.platformverifier.** { *; }" in rules)
        // Of the same version as the Rust side of it: the README tells the app which.
        val locked = File(folder, "../../../Cargo.lock").readText().substringAfter("name = \"rustls-platform-verifier-android\"\nversion = \"").substringBefore('"')
        assertTrue(locked, "rustls:rustls-platform-verifier:$locked@aar" in File(folder, "../README.md").readText())
    }

    @Test
    fun `a library without an HTTP of its own is one sentence, and so is none`() {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val found = File(folder, "target/other").apply { mkdirs() }
        fun said(where: File): String {
            val process = ProcessBuilder(java, "-Djava.library.path=$where", "-cp", System.getProperty("java.class.path"), "io.headwater.WithoutHttp")
                .redirectErrorStream(true).start()
            return process.inputStream.bufferedReader().readText().also { assertEquals(it, 0, process.waitFor()) }
        }
        // Some library of Java's own: it has none of our methods.
        File(System.getProperty("java.home"), "lib/${System.mapLibraryName("prefs")}").copyTo(File(found, System.mapLibraryName("headwater_mobile")), overwrite = true)
        assertTrue(said(found), "was built without an HTTP of its own" in said(found))
        val none = File(folder, "target/none").apply { mkdirs() }
        assertTrue(said(none), "cannot be loaded" in said(none))
    }

    @Test
    fun `native libraries can be mapped with pages of 16 KB`() {
        ZipFile(System.getProperty("headwater.jna.aar")).use { aar ->
            val files = aar.entries().asSequence().filter { it.name.endsWith(".so") && ABIS_OF_64_BITS.any { abi -> "/$abi/" in it.name } }.toList()
            assertEquals(ABIS_OF_64_BITS.size, files.size)
            for (file in files) assertAligned(file.name, aar.getInputStream(file).use { it.readBytes() })
        }
        // Ours, where a release names them.
        for (abi in ABIS_OF_64_BITS) {
            val ours = File(System.getProperty("headwater.android.natives"), "$abi/libheadwater_mobile.so")
            if (ours.exists()) assertAligned(ours.path, ours.readBytes())
        }
    }

    @Test
    fun `what is public changes only on purpose`() {
        val classes = listOf("HeadwaterAndroid", "AndroidOptions", "HeadwaterUploadJob").map { Class.forName("io.headwater.$it") }
        val lines = classes.flatMap { type ->
            val members = type.declaredConstructors.toList<java.lang.reflect.Executable>() + type.declaredMethods
            members.filter { Modifier.isPublic(it.modifiers) && !it.isSynthetic && '$' !in it.name }.map { it.toGenericString() }.sorted()
        }
        val file = File(folder, "src/test/api.txt")
        if (System.getProperty("headwater.api.write") == "true") file.writeText(lines.joinToString("\n", postfix = "\n"))
        val known = file.readLines()
        val changed = (known - lines.toSet()).map { "- $it" } + (lines - known.toSet()).map { "+ $it" }
        assertTrue(changed.joinToString("\n", "the public members are others; if so meant: -Dheadwater.api.write=true\n"), changed.isEmpty())
    }

    /** Each segment that is loaded begins where a page of 16 KB may. */
    private fun assertAligned(name: String, file: ByteArray) {
        val elf = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN)
        assertEquals("$name is no ELF file of 64 bits", 0x02_46_4c_45_7f, elf.getLong(0) and 0xff_ffff_ffff)
        val (table, size, count) = Triple(elf.getLong(0x20).toInt(), elf.getShort(0x36).toInt(), elf.getShort(0x38).toInt())
        val loaded = (0 until count).map { table + it * size }.filter { elf.getInt(it) == PT_LOAD }
        assertTrue("$name loads nothing", loaded.isNotEmpty())
        for (header in loaded) assertTrue("$name is aligned to ${elf.getLong(header + 0x30)}", elf.getLong(header + 0x30) >= 0x4000)
    }
}

/** An app on a phone whose library has no HTTP: sets it up, and says what came of it. */
internal object WithoutHttp {
    @JvmStatic
    fun main(arguments: Array<String>) = println(Verifier.setUp(ContextWrapper(null)))
}

/** Only phones of 64 bits have pages of 16 KB. */
private val ABIS_OF_64_BITS = listOf("arm64-v8a", "x86_64")
private const val PT_LOAD = 1
