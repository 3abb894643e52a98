// Facts, between Cluster and Protos/journal.proto.

package import Cluster
internal import Regression
internal import SwiftProtobuf

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

extension Codec {
    /// A fact as a row of the journal.
    package static func encode(_ fact: Fact) -> [UInt8] {
        do {
            return try PBFact(fact).serializedBytes()
        } catch {
            preconditionFailure("a fact cannot be encoded: \(error)")
        }
    }

    /// - Throws: `WireError` if the bytes are no fact.
    package static func decodeFact(_ bytes: [UInt8]) throws(WireError) -> Fact {
        let fact: PBFact
        do {
            fact = try PBFact(serializedBytes: bytes)
        } catch {
            throw WireError("not a fact")
        }
        return try fact.value
    }
}

extension PBFact {
    fileprivate init(_ fact: Fact) {
        switch fact {
        case .termBegan(let term): termBegan = term
        case .studyAccepted(let study, let submission):
            accepted = .with {
                $0.study = study.value
                $0.submission = .init(submission)
            }
        case .itemsCompleted(let job, let result):
            completed = .with {
                $0.job = .init(job)
                $0.result = .init(result)
            }
        case .labelsPaid(let oracle, let points, let valuations, let worker):
            paid = .with {
                $0.worker = worker
                $0.work = .with {
                    $0.oracle = .init(oracle)
                    $0.points = points
                }
                $0.result = .init(.labels(valuations))
            }
        case .attemptLost(let attempt, let cause):
            lost = .with {
                $0.attempt = .init(attempt)
                $0.cause = cause
            }
        case .jobAbandoned(let job, let reason):
            abandoned = .with {
                $0.job = .init(job)
                $0.reason = reason
            }
        case .studyPaused(let study, let isPaused):
            paused = .with {
                $0.study = study.value
                $0.isPaused = isPaused
            }
        case .studyEnded(let study, let ending):
            ended = .with {
                $0.study = study.value
                $0.ending = .init(StudyEvent(number: 0, at: .zero, what: .ended(ending)))
            }
        }
    }

    fileprivate var value: Fact {
        get throws(WireError) {
            switch kind {
            case .termBegan(let term): return .termBegan(term)
            case .accepted(let accepted):
                return .studyAccepted(StudyID(accepted.study), try accepted.submission.value)
            case .completed(let completed):
                return .itemsCompleted(try completed.job.value, try completed.result.value)
            case .paid(let paid):
                guard case .labels(let valuations) = try paid.result.value else {
                    throw WireError("labels that are none")
                }
                let rows = valuations.prices.count
                try check(rows > 0 && paid.work.points.count.isMultiple(of: rows), "labels without their inputs")
                return .labelsPaid(
                    try paid.work.oracle.value, points: paid.work.points, valuations, worker: paid.worker)
            case .lost(let lost): return .attemptLost(try lost.attempt.value, cause: lost.cause)
            case .abandoned(let abandoned): return .jobAbandoned(try abandoned.job.value, reason: abandoned.reason)
            case .paused(let paused): return .studyPaused(StudyID(paused.study), paused.isPaused)
            case .ended(let ended):
                guard case .ended(let ending) = try ended.ending.value.what else {
                    throw WireError("a study's end that is none")
                }
                return .studyEnded(StudyID(ended.study), ending)
            case nil: throw WireError("a fact of no known kind")
            }
        }
    }
}
