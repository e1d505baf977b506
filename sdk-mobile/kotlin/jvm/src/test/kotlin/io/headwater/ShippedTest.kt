/*
 * What users get with the jar: the members that the last release had, rules for R8 that keep what is found by name, and one version.
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
        val file = File(folder, "src/test/api.txt")
        if (System.getProperty("headwater.api.write") == "true") file.writeText(lines.joinToString("\n", postfix = "\n"))
        val known = file.readLines()
        val changed = (known - lines.toSet()).map { "- $it" } + (lines - known.toSet()).map { "+ $it" }
        assertTrue(changed.isEmpty()) { changed.joinToString("\n", "the public members are others; if so meant: -Dheadwater.api.write=true\n") }
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
