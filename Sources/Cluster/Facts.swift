// What is decided for good. A coordinator's durable state changes by facts alone, on the live path as in a replay.

/// A decided, durable change.
package enum Fact: Sendable {
    /// A coordinator's life began.
    case termBegan(UInt64)
    case studyAccepted(StudyID, token: UInt64, study: String, attachments: [ToCoordinator.Attachment])
    /// Items of a batch have their result.
    case itemsCompleted(JobID, WorkResult)
    /// An attempt ended without a result and counts against its job.
    case attemptLost(Attempt, cause: String)
    /// A job reached the crash limit.
    case jobAbandoned(JobID, reason: String)
    case studyEnded(StudyID, StudyEvent.Ending)
}
