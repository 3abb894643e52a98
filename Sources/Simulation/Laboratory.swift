// What a simulation knows of studies: the answer of the one-process run, the answer that persisted facts give, and
// results that were computed before.

internal import Cluster
internal import Regression

/// Runs studies without a cluster. Remembers: everything here is a pure function.
final class Laboratory {
    /// How a study ends.
    enum Ending: Hashable {
        /// With these bytes.
        case done([UInt8])
        case failed(String)
    }

    /// Where a plan stands.
    struct Place {
        /// Names the study and all results so far.
        var key: Digest
        var plan: StudyPlan
        var step: PlanStep
    }

    /// What was given up, per batch: why, in the order in which it was decided, and the items that had no result then.
    typealias Losses = [Int: (reasons: [BatchResults.Abandoned], items: Set<Int>)]

    let bench = Workbench(oracles: SimulatedStudy.oracles, threads: 1)
    private var studies: [Int: SimulatedStudy] = [:]
    private var places: [Digest: Place] = [:]
    private var trainings: [TrainingWork: Result<(WorkResult, [[UInt8]]), WorkFailure>] = [:]
    private var references: [Int: Ending] = [:]

    /// Known answers are forgotten beyond so many of a kind.
    private static let most = 6000

    func study(_ index: Int) -> SimulatedStudy {
        if let known = studies[index] { return known }
        let study = SimulatedStudy(index)
        studies[index] = study
        return study
    }

    // MARK: Plans

    /// The first step of a study's plan.
    func begin(_ index: Int, anew: Bool = false) -> Place {
        let key = Digest(of: Array("study \(index)".utf8))
        if !anew, let known = places[key] { return known }
        let study = self.study(index)
        // Every other study trains in as many parts as there can be.
        var plan = StudyPlan(
            study: study.study, descriptor: study.descriptor, attachments: study.content,
            trainingPart: index.isMultiple(of: 2) ? 0 : .infinity)
        let step = plan.next(nil, threads: 1)
        return remember(Place(key: key, plan: plan, step: step))
    }

    /// The step after a batch. `plan` is the one to go on with, `key` names where it stands.
    func advance(_ key: Digest, _ plan: StudyPlan, _ results: BatchResults, anew: Bool = false) -> Place {
        let key = Digest(of: key.bytes + results.bytes)
        if !anew, let known = places[key] { return known }
        var plan = plan
        let step = plan.next(results, threads: 1)
        return remember(Place(key: key, plan: plan, step: step))
    }

    private func remember(_ place: Place) -> Place {
        if places.count > Self.most { places = [:] }
        places[place.key] = place
        return place
    }

    // MARK: Work

    /// Does one piece of work. Trainings are remembered.
    func perform(_ work: Work, blob: (Digest) -> [UInt8]?) -> (ToCoordinator.Outcome, [[UInt8]]) {
        do throws(WorkFailure) {
            guard case .train(let training) = work else {
                let (result, produced) = try bench.perform(work, blob: blob, progress: { _ in }, isCancelled: { false })
                return (.success(result), produced)
            }
            // Only if the blobs are what they claim to be is the answer the known one.
            let isSound = work.needs.allSatisfy { need in
                blob(need.digest).map { BlobReference(to: $0) == need } == true
            }
            if isSound, let known = trainings[training] {
                let (result, produced) = try known.get()
                return (.success(result), produced)
            }
            let answer: Result<(WorkResult, [[UInt8]]), WorkFailure>
            do throws(WorkFailure) {
                let (result, produced) = try bench.perform(work, blob: blob, progress: { _ in }, isCancelled: { false })
                answer = .success((result, produced))
            } catch {
                answer = .failure(error)
            }
            if isSound {
                if trainings.count > Self.most { trainings = [:] }
                trainings[training] = answer
            }
            let (result, produced) = try answer.get()
            return (.success(result), produced)
        } catch {
            return (.failure(error), [])
        }
    }

    /// Takes an item on its course.
    func pursue(
        _ batch: Batch, _ item: Int, _ course: Course?, _ answers: Valuations, blob: (Digest) -> [UInt8]?
    ) -> Result<Course, WorkFailure> {
        do throws(WorkFailure) {
            return .success(try bench.pursue(batch, item: item, course, answers: answers, blob: blob))
        } catch {
            return .failure(error)
        }
    }

    // MARK: Answers

    /// The answer of one process, which does each batch as one job and gives up the items that `losses` names.
    func reference(_ index: Int, _ losses: Losses) -> Ending {
        if losses.isEmpty, let known = references[index] { return known }
        let ending = alone(index, losses)
        if losses.isEmpty { references[index] = ending }
        return ending
    }

    private func alone(_ index: Int, _ losses: Losses) -> Ending {
        var blobs: [Digest: [UInt8]] = [:]
        var place = begin(index)
        var number = 0
        while true {
            for bytes in place.step.blobs { blobs[Digest(of: bytes)] = bytes }
            guard case .batch(let batch) = place.step.next else { return ending(of: place.step)! }
            var results = BatchResults(for: batch, dimension: study(index).study.domain.dimension)
            let lost = losses[number] ?? ([], [])
            for items in rest(of: batch, without: lost.items) {
                let (outcome, produced) = perform(batch.work(items), blob: { blobs[$0] })
                for bytes in produced { blobs[Digest(of: bytes)] = bytes }
                switch outcome {
                case .success(let result): precondition(results.record(items, result), "one process misfits itself")
                case .failure(let failure): results.abandon(items, reason: failure.description)
                }
            }
            for loss in lost.reasons { results.abandon(loss.items, reason: loss.reason) }
            place = advance(place.key, place.plan, results)
            number += 1
        }
    }

    /// The items of a batch that are left, in runs; trainings one by one.
    private func rest(of batch: Batch, without lost: Set<Int>) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var start: Int?
        for item in 0...batch.count {
            let isIn = item < batch.count && !lost.contains(item)
            if !isIn || batch.kind == .train, let first = start {
                runs.append(first..<item)
                start = nil
            }
            if isIn, start == nil { start = item }
        }
        return runs
    }

    private func ending(of step: PlanStep) -> Ending? {
        switch step.next {
        case .finished(let outcome): .done(Transcript(outcome).bytes)
        case .failed(let reason): .failed(reason)
        case .batch: nil
        }
    }

    /// What the persisted facts of a study say, and nothing else: its plan, its batches' results in the order in which
    /// they were decided, and so on to the end.
    ///
    /// - Returns: nil if they do not lead to an end.
    func replay(_ index: Int, _ facts: [Fact]) -> Ending? {
        var place = begin(index)
        var number = 0
        var results: BatchResults?
        for fact in facts {
            if results == nil {
                guard case .batch(let batch) = place.step.next else { break }
                results = BatchResults(for: batch, dimension: study(index).study.domain.dimension)
            }
            // An empty batch is complete at once.
            while let empty = results, empty.isComplete {
                (place, number) = (advance(place.key, place.plan, empty), number + 1)
                guard case .batch(let batch) = place.step.next else { return ending(of: place.step) }
                results = BatchResults(for: batch, dimension: study(index).study.domain.dimension)
            }
            switch fact {
            case .itemsCompleted(let job, let result) where job.batch == number && job.call == nil:
                _ = results!.record(job.items, result)
            case .jobAbandoned(let job, let reason) where job.batch == number:
                results!.abandon(job.items, reason: reason)
            default: continue
            }
            if results!.isComplete {
                (place, number) = (advance(place.key, place.plan, results!), number + 1)
                results = nil
            }
        }
        return ending(of: place.step)
    }
}

extension BatchResults {
    /// Everything that they say, as bytes.
    fileprivate var bytes: [UInt8] {
        var bytes: [UInt8] = []
        func add(_ word: UInt64) { withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) } }
        func add(_ numbers: [Double]) {
            add(UInt64(numbers.count))
            for number in numbers { add(number.bitPattern) }
        }
        for list in [
            maximizers.inputs, maximizers.predictions, maximizers.labels, maximizers.standardErrors, numbers,
            valuations.prices, valuations.standardErrors,
        ] { add(list) }
        bytes += valuations.statuses.map(\.rawValue)
        for blob in trained { bytes += blob?.digest.bytes ?? [0] }
        for report in epochs.joined() {
            add(UInt64(report.epoch))
            add([report.trainingMSE, report.learningRate, report.isLast ? 1 : 0])
        }
        for loss in abandoned {
            add(UInt64(loss.items.lowerBound))
            add(UInt64(loss.items.upperBound))
            bytes += loss.reason.utf8
        }
        add(UInt64(oracleCalls))
        return bytes
    }
}
