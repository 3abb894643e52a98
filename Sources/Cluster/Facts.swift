// What is decided for good. A coordinator's durable state changes by facts alone, on the live path as in a replay.

package import Regression

/// A decided, durable change.
package enum Fact: Sendable {
    /// A coordinator's life began.
    case termBegan(UInt64)
    indirect case studyAccepted(StudyID, ToCoordinator.Submission)
    /// Items of a batch have their result.
    case itemsCompleted(JobID, WorkResult)
    /// Labels that were worth keeping for other studies: rows of raw inputs with what the oracle of a worker said of them.
    indirect case labelsPaid(OracleReference, points: [Double], Valuations, worker: String)
    /// An attempt ended without a result and counts against its job.
    indirect case attemptLost(Attempt, cause: String)
    /// A job reached the crash limit.
    case jobAbandoned(JobID, reason: String)
    /// Nothing more of a study is begun; or it goes on.
    case studyPaused(StudyID, Bool)
    indirect case studyEnded(StudyID, StudyEvent.Ending)
}

extension Fact {
    /// The study that it is about, if it is about one.
    package var study: StudyID? {
        switch self {
        case .termBegan, .labelsPaid: nil
        case .studyAccepted(let study, _), .studyPaused(let study, _), .studyEnded(let study, _): study
        case .itemsCompleted(let job, _), .jobAbandoned(let job, _): job.study
        case .attemptLost(let attempt, _): attempt.job.study
        }
    }

    /// Blobs that it names: as durable as the fact itself.
    package var blobs: Set<Digest> {
        switch self {
        case .studyAccepted(_, let submission): Set(submission.attachments.map(\.blob.digest))
        case .itemsCompleted(_, .trained(let parameters, _)): [parameters.digest]
        case .studyEnded(_, let ending): ending.blobs
        case .termBegan, .itemsCompleted, .labelsPaid, .attemptLost, .jobAbandoned, .studyPaused: []
        }
    }
}
