/*
 * Words of this library and those of the generated boundary, one into the other. Conversions only: a word that is new on the other side does
 * not compile here, and is seen.
 */
package io.headwater

import io.headwater.core.Answer as CoreAnswer
import io.headwater.core.Category as CoreCategory
import io.headwater.core.EventOptions as CoreEventOptions
import io.headwater.core.Options as CoreOptions
import io.headwater.core.Report as CoreReport
import io.headwater.core.Survives as CoreSurvives
import io.headwater.core.Uploads as CoreUploads

internal fun Options.toCore() = CoreOptions(
    writeKey = wellFormed(writeKey),
    endpoint = wellFormed(endpoint),
    folder = wellFormed(folder.absolutePath),
    survives = when (survives) {
        Survives.PROCESS -> CoreSurvives.PROCESS
        Survives.POWER -> CoreSurvives.POWER
    },
    uploads = if (uploaderHere == null) CoreUploads.BUILT_IN else CoreUploads.HOST,
    maxEvents = maxEvents.toPositive(),
    maxBytes = maxBytes.toPositive(),
    maxAgeMs = maxAgeMs?.toPositive(),
    gatherMs = gatherMs.toPositive(),
    maxBatchEvents = maxBatchEvents.coerceAtLeast(1).toUInt(),
    consent = consent.toCore(),
)

internal fun Map<Category, Answer>.toCore() = entries.associate { (category, answer) -> category.toCore() to answer.toCore() }

internal fun Category.toCore() = when (this) {
    Category.ANALYTICS -> CoreCategory.ANALYTICS
    Category.MARKETING -> CoreCategory.MARKETING
    Category.FUNCTIONAL -> CoreCategory.FUNCTIONAL
    Category.NECESSARY -> CoreCategory.NECESSARY
}

internal fun Answer.toCore() = when (this) {
    Answer.PENDING -> CoreAnswer.PENDING
    Answer.GRANTED -> CoreAnswer.GRANTED
    Answer.DENIED -> CoreAnswer.DENIED
}

internal fun CoreAnswer.fromCore() = when (this) {
    CoreAnswer.PENDING -> Answer.PENDING
    CoreAnswer.GRANTED -> Answer.GRANTED
    CoreAnswer.DENIED -> Answer.DENIED
}

internal fun EventOptions.toCore(context: String?) =
    CoreEventOptions(category?.toCore(), timestampMs?.toPositive(), context)

internal fun CoreReport.fromCore(): Report = when (this) {
    is CoreReport.Dropped -> Report.Dropped(messageId, reason)
    is CoreReport.Stopped -> Report.Stopped(status.toInt())
    is CoreReport.NotDurable -> Report.NotDurable(detail)
    is CoreReport.StateLost -> Report.StateLost(detail)
    is CoreReport.NotSending -> Report.NotSending(detail)
    is CoreReport.NoMessages -> Report.NoMessages(detail)
}

/** Less than nothing is nothing. */
private fun Long.toPositive() = coerceAtLeast(0).toULong()
