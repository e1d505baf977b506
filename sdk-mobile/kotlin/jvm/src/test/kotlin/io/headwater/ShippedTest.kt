/*
 * What users get with the jar: the members and the boundary that the last release had, rules for R8 that keep what is found by name, one
 * version, and a word where the native library is missing.
 */
package io.headwater

import java.io.File
import kotlin.reflect.KVisibility
import kotlin.reflect.full.declaredMembers
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

internal class ShippedTest {
    private val folder = File(System.getProperty("headwater.basedir"))

    @Test
    fun `what is public changes only on purpose`() {
        val lines = File(folder, "target/classes/io/headwater").listFiles().orEmpty().filter { it.extension == "class" }
            .map { Class.forName("io.headwater.${it.nameWithoutExtension}") }
            .filter { it.getAnnotation(Metadata::class.java)?.kind == 1 && !it.isAnonymousClass && !it.isLocalClass }
            .map { it.kotlin }
            .filter { type -> generateSequence(type.java) { it.enclosingClass }.all { it.kotlin.visibility == KVisibility.PUBLIC } }
            .sortedBy { it.qualifiedName }
            .flatMap { type ->
                val kind = listOfNotNull("sealed".takeIf { type.isSealed }, "data".takeIf { type.isData }, "class").joinToString(" ")
                val values = type.java.enumConstants.orEmpty().map { "  $it" }
                val members = (type.constructors + type.declaredMembers).filter { it.visibility == KVisibility.PUBLIC }.map { "  $it" }
                listOf("$kind ${type.qualifiedName}") + values + members.map { it.replace("${type.qualifiedName}.", "").replace("kotlin.collections.", "").replace("kotlin.", "") }.sorted()
            }
        compare("api.txt", lines)
    }

    private fun compare(name: String, lines: List<String>) {
        val file = File(folder, "src/test/$name")
        if (System.getProperty("headwater.api.write") == "true") file.writeText(lines.joinToString("\n", postfix = "\n"))
        val known = file.readLines()
        val changed = (known - lines.toSet()).map { "- $it" } + (lines - known.toSet()).map { "+ $it" }
        assertTrue(changed.isEmpty()) { changed.joinToString("\n", "$name says otherwise; if it is so meant: -Dheadwater.api.write=true\n") }
    }

    /** An app's own build has one side of it and the library another: each difference is one that breaks whoever has only one of the two. */
    @Test
    fun `the boundary changes only on purpose`() {
        val source = File(folder, "target/generated-sources/boundary").walk().single { it.extension == "kt" }.readText()
        val contract = listOf("contract " + Regex("bindings_contract_version = (\\d+)").find(source)!!.groupValues[1])
        val calls = Regex("lib\\.uniffi_headwater_mobile_checksum_(\\w+)\\(\\) and 0xFFFF\\) != (\\d+)").findAll(source)
            .map { it.groupValues.drop(1).joinToString(" ") }.sorted().toList()
        // Checksums are of names and signatures; what a record is made of is seen in how it is read.
        val types = source.split("public object FfiConverter").drop(1).mapNotNull { text ->
            val read = text.substringAfter("fun read(", "").substringBefore("override fun ")
            val parts = Regex("(\\d+) -> |FfiConverter(\\w+)\\.read").findAll(read).map { it.groupValues[1].ifEmpty { it.groupValues[2] } }.toList()
            val name = text.substringBefore(':').trim()
            "type $name: ${parts.joinToString(" ")}".takeIf { name.startsWith("Type") }
        }.sorted()
        val enums = Regex("enum class (\\w+)\\s*\\{([^;}]*)").findAll(source)
            .map { found -> "enum ${found.groupValues[1]}: " + Regex("^\\s*([A-Z_]+)[,;(]?", RegexOption.MULTILINE).findAll(found.groupValues[2]).joinToString(" ") { it.groupValues[1] } }
        compare("boundary.txt", contract + calls + types + enums.sorted())
    }

    @Test
    fun `a library that is missing is one sentence`() {
        val empty = File(folder, "target/empty").apply { mkdirs() }
        val java = File(System.getProperty("java.home"), "bin/java").path
        val process = ProcessBuilder(
            java, "-Djna.library.path=$empty", "-Djna.platform.library.path=$empty", "-cp", System.getProperty("java.class.path"), "io.headwater.WithoutLibrary",
        ).redirectErrorStream(true).start()
        val said = process.inputStream.bufferedReader().readText()
        assertEquals(0, process.waitFor())
        for (word in listOf("there is no libheadwater_mobile", "-Djna.library.path=FOLDER")) assertTrue(word in said, said)
        assertEquals(1, said.trim().lines().size, said)
    }

    @Test
    fun `R8 keeps what JNA finds by name`() {
        val rules = checkNotNull(javaClass.getResource("/META-INF/proguard/headwater.pro")).readText()
        for (kept in listOf("-keep class com.sun.jna.** { *; }", "-keep class io.headwater.core.** { *; }", "extends com.sun.jna.Structure", "-dontwarn java.awt.**")) {
            assertTrue(kept in rules, kept)
        }
    }

    @Test
    fun `events name the version that was built`() = assertEquals(System.getProperty("headwater.version"), VERSION)
}

/** A program on a machine without the native library: opens a client, and says what came of it. */
internal object WithoutLibrary {
    @JvmStatic
    fun main(arguments: Array<String>) {
        try {
            Headwater(Options("wk", NOWHERE, File("unused")))
        } catch (failure: UnsatisfiedLinkError) {
            println(failure.message)
        }
    }
}
