// The course of a study: what to do next, given what is known.
//
// A plan is a value that only changes in `next(_:)`, a pure function of the study and of the results of its batches. So
// the plan needs no storage of its own: a restarted coordinator folds the same results into the same plan, and a batch's
// number names the same work in every life.

package import Regression

/// Where a study stands; the names appear in progress, logs and the summary's seconds.
package enum Phase: String, Sendable, Hashable, CaseIterable {
    case label, train, predict, search, reprice, certify, scan, mitigate, retrain, judge, write, done
}

/// What a plan asks for next.
package struct PlanStep: Sendable {
    package enum Next: Sendable {
        case batch(Batch)
        case finished(StudyOutcome)
        case failed(String)
    }

    package var next: Next
    package var phase: Phase
    /// Bytes that the next jobs need; the store keeps them.
    package var blobs: [[UInt8]] = []
    /// Parameters that have become a version.
    package var published: [(version: Int, parameters: BlobReference)] = []
    /// One line for people.
    package var note: String?

    package init(
        next: Next, phase: Phase, blobs: [[UInt8]] = [],
        published: [(version: Int, parameters: BlobReference)] = [], note: String? = nil
    ) {
        self.next = next
        self.phase = phase
        self.blobs = blobs
        self.published = published
        self.note = note
    }
}

package struct StudyPlan: Sendable {
    package let study: Study
    private let oracle: OracleReference
    private let gradient: OracleGradient
    /// The oracle on more paths; nil if its prices carry no noise.
    private let refined: OracleReference?
    private let attachments: StudyAttachments

    private var phase = Phase.label
    private var training: Samples
    private var origins: [Origin] = []
    private var test: Samples
    private var attackTest: Samples
    private var validation: Samples
    /// The training samples with the labels that mitigation gave them, and without those that it removed.
    private var mitigated: Samples?

    /// The arithmetic of a part of a training, in operations.
    private let trainingPart: Double
    private var trainings: [TrainingCourse] = []
    private var parameters: BlobReference?
    private var version = 0
    private var epochs: [EpochReport] = []
    private var trainingErrors: [Double] = []
    private var before: TableRow?

    private var stage = 0
    private var seedsAsked = 0
    private var seedCount = 0
    /// How many of the first seeds each current one stands for.
    private var weights: [Int] = []
    private var settled: Found
    private var found: Found
    private var gains: [Double] = []
    private var findings: [ScanFinding] = []

    private var tree: NeighbourTree?
    private var verification: Verification?
    private var flagged: [FlaggedSample] = []
    private var added: Samples
    private var variants: [StudyOutcome.Variant] = []
    private var retrained: [BlobReference] = []
    private var calls = StudyOutcome.OracleCalls()
    private var noise = StudyOutcome.Noise()
    private var incomplete: [String] = []
    /// What was left undone beyond what is named.
    private var unnamed = 0
    /// Items of the batch that was done last that were given up.
    private var givenUp: Set<Int> = []

    /// Maximizers with what is known of each.
    private struct Found: Sendable {
        var maximizers: Maximizers
        var seeds: [Int] = []
        var stages: [Int] = []
    }

    /// - Parameters:
    ///   - descriptor: of the study's oracle.
    ///   - trainingPart: operations of a training after which its state is kept, so that a crash costs no more; a training
    ///     has sixteen parts at the most. The result does not depend on it, but a batch's number does.
    package init(
        study: Study, descriptor: OracleDescriptor, attachments: StudyAttachments, trainingPart: Double = 2e12
    ) {
        self.study = study
        self.attachments = attachments
        self.trainingPart = trainingPart
        oracle = OracleReference(name: descriptor.name, fingerprint: descriptor.fingerprint)
        refined = descriptor.isStochastic ? oracle.refined(descriptor, by: Self.refinement) : nil
        switch study.search.gradient {
        case .own: gradient = .own
        case .auto where descriptor.providesGradient: gradient = .own
        case .auto, .differences: gradient = .differences(step: study.search.difference)
        }
        let empty = Samples(dimension: study.domain.dimension)
        (training, test, attackTest, validation, added) = (empty, empty, empty, empty, empty)
        found = Found(maximizers: Maximizers(dimension: study.domain.dimension))
        settled = found
    }

    private var dimension: Int { study.domain.dimension }

    private var surface: SurfaceSettings {
        SurfaceSettings(oracle: oracle, domain: study.domain, labelScale: study.labelScale, gradient: gradient)
    }

    private func batch(_ content: Batch.Content) -> PlanStep.Next { .batch(Batch(content, dimension: dimension)) }

    private func stream(_ purpose: RandomStream.Purpose) -> RandomStream {
        RandomStream(seed: study.randomSeed, purpose: purpose)
    }

    /// The first step (without results) or the one after a batch.
    ///
    /// - Parameters:
    ///   - results: of the batch that the step before asked for.
    ///   - threads: how many threads to use; the step does not depend on it.
    package mutating func next(_ results: BatchResults?, threads: Int) -> PlanStep {
        do {
            if let results { try note(results) }
            switch (phase, results) {
            case (.label, nil): return try draw()
            case (.label, let results?): return try label(results)
            case (.train, let results?): return try trained(results)
            case (.predict, let results?): return try predicted(results)
            case (.search, let results?): return searched(results)
            case (.reprice, let results?): return repriced(results)
            case (.certify, let results?): return certified(results, threads: threads)
            case (.mitigate, let results?): return mitigate(results)
            case (.retrain, let results?): return try retrained(results)
            case (.judge, let results?): return try judged(results)
            default: preconditionFailure("a plan in phase \(phase) was asked for a step it does not have")
            }
        } catch {
            phase = .done
            return PlanStep(next: .failed("\(error)"), phase: .done)
        }
    }

    /// Abandoned items end a study where it cannot do without them, and are named where it can: it does without a sample, a
    /// seed or a second opinion, not without a surrogate.
    private mutating func note(_ results: BatchResults) throws(WorkFailure) {
        givenUp = []
        // In the order of the items, not in that of time: which job was given up first is chance.
        let abandoned = results.abandoned.sorted { a, b in
            (a.items.lowerBound, a.items.upperBound) < (b.items.lowerBound, b.items.upperBound)
        }
        for abandoned in abandoned {
            let items = abandoned.items
            let what =
                "\(phase.rawValue): items \(items.lowerBound)..<\(items.upperBound) abandoned: \(abandoned.reason)"
            switch phase {
            case .train, .predict, .retrain, .judge: throw WorkFailure(what)
            default: leaveUndone(what)
            }
            givenUp.formUnion(items)
        }
    }

    private static let mostNamed = 100

    private mutating func leaveUndone(_ what: String) {
        if incomplete.count < Self.mostNamed { incomplete.append(what) } else { unnamed += 1 }
    }

    // MARK: Data

    /// The inputs to label, in the order of `label(_:)`.
    private mutating func draw() throws -> PlanStep {
        func unlabelled(_ rows: [Double]) -> Samples {
            Samples(
                dimension: dimension, inputs: rows, labels: [Double](repeating: .nan, count: rows.count / dimension))
        }
        var testCount = 0
        switch study.data {
        case .generated(let base, let count):
            var stream = stream(.baseSamples)
            training = unlabelled(try study.domain.sample(base, from: &stream))
            testCount = count
        case .attached(let count):
            training = attachments.training ?? training
            testCount = attachments.test == nil ? count ?? 0 : 0
            test = attachments.test ?? test
        }
        origins = [Origin](repeating: .base, count: training.count)
        if testCount > 0 {
            var stream = stream(.testSamples)
            test = unlabelled(try study.domain.sample(testCount, from: &stream))
        }
        if let attack = study.attack {
            var stream = stream(.mislabelled)
            training.append(unlabelled(try attack.sampleInner(attack.mislabelled, study.domain, &stream)))
            origins += [Origin](repeating: .mislabelled, count: attack.mislabelled)
            stream = self.stream(.surround)
            training.append(unlabelled(try attack.sampleSurround(study.domain, &stream)))
            origins += [Origin](repeating: .surround, count: attack.surround)
            stream = self.stream(.attackTest)
            attackTest = unlabelled(try attack.sampleInner(max(1, test.count), study.domain, &stream))
        }
        if study.mitigation.action != .none, study.mitigation.weights.count > 1 {
            var stream = stream(.validation)
            validation = unlabelled(try study.domain.sample(max(1, test.count), from: &stream))
        }
        let points = [training, test, attackTest, validation].flatMap { set in
            set.labels.indices.filter { set.labels[$0].isNaN }.flatMap { set.input($0) }
        }
        guard !points.isEmpty else { return try train() }
        return PlanStep(
            next: batch(.label(oracle, points: study.domain.raw(rows: points))), phase: .label,
            note: "labelling \(points.count / dimension) inputs")
    }

    private mutating func label(_ results: BatchResults) throws -> PlanStep {
        var next = 0
        /// Fills the gaps of a set. What has no price is left out: one bad input shall not cost all that was paid for the
        /// others.
        ///
        /// - Returns: what is kept, which rows that were, and how often the oracle was asked.
        func filled(
            _ set: Samples, _ name: String
        ) throws(WorkFailure) -> (set: Samples, rows: [Int], calls: Int) {
            var (set, rows, calls) = (set, [Int](), 0)
            for row in set.labels.indices {
                if set.labels[row].isNaN {
                    if !givenUp.contains(next) { calls += 1 }
                    if let label = price(results, next, set.input(row)) { set.labels[row] = label }
                    next += 1
                }
                if !set.labels[row].isNaN { rows.append(row) }
            }
            guard set.count == 0 || !rows.isEmpty else {
                throw WorkFailure("the oracle has no price for any \(name) sample; \(incomplete.first ?? "")")
            }
            return (rows.count < set.count ? set.rows(rows) : set, rows, calls)
        }
        let kept: [Int]
        (training, kept, calls.training) = try filled(training, "training")
        if kept.count < origins.count { origins = kept.map { origins[$0] } }
        (test, _, calls.test) = try filled(test, "test")
        let attacked = try filled(attackTest, "attack test")
        attackTest = attacked.set
        calls.test += attacked.calls
        (validation, _, calls.validation) = try filled(validation, "validation")
        if let attack = study.attack {
            for row in origins.indices where origins[row] == .mislabelled { training.labels[row] += attack.epsilon }
        }
        return try train()
    }

    /// A label from a label batch; nil, and named, if the oracle has none.
    private mutating func price(_ results: BatchResults, _ item: Int, _ input: ArraySlice<Double>) -> Double? {
        guard !givenUp.contains(item) else { return nil }
        let label = results.valuations.prices[item] * study.labelScale
        guard results.valuations.statuses[item].hasPrice, label.isFinite else {
            let raw = input.enumerated().map { i, u in "\(study.domain.inputs[i].name) \(study.domain.raw(u, i))" }
            leaveUndone(
                "\(phase.rawValue): the oracle has no price (\(results.valuations.statuses[item].name)) at "
                    + raw.joined(separator: ", "))
            return nil
        }
        return label
    }

    // MARK: Training

    private mutating func train() throws -> PlanStep {
        guard training.count > 0 || study.surrogate == .attached else {
            throw WorkFailure("there are no training samples")
        }
        switch study.surrogate {
        case .attached:
            guard let model = attachments.model else { throw WorkFailure("the surrogate's file is not attached") }
            let bytes = model.safetensors()
            var step = publish(BlobReference(to: bytes))
            step.blobs.append(bytes)
            return step
        case .fresh(let hidden):
            phase = .train
            let bytes = training.encoded
            let work = TrainingWork(
                start: .fresh(hidden: hidden), samples: BlobReference(to: bytes), settings: study.training,
                randomSeed: study.randomSeed, run: 0)
            var step = train([work], rows: training.count)
            step.blobs = [bytes]
            step.note = "training on \(training.count) samples"
            return step
        }
    }

    private mutating func trained(_ results: BatchResults) throws -> PlanStep {
        if let next = try goOnTraining(results) { return next }
        epochs = trainings[0].epochs
        return publish(trainings[0].parameters!)
    }

    /// A training, part after part.
    private struct TrainingCourse: Sendable {
        /// Its next part.
        var work: TrainingWork
        var epochs: [EpochReport] = []
        /// Nil while it goes on.
        var parameters: BlobReference?
    }

    /// Begins trainings of the surrogate on so many samples.
    private mutating func train(_ works: [TrainingWork], rows: Int) -> PlanStep {
        let hidden =
            switch study.surrogate {
            case .fresh(let hidden): hidden
            case .attached: attachments.model?.hidden ?? []
            }
        let widths = [dimension] + hidden + [1]
        let weights = zip(widths, widths.dropFirst()).reduce(0.0) { $0 + Double($1.0 * $1.1) }
        let part = (trainingPart / (6 * weights * Double(rows))).rounded(.up)
        trainings = works.map { work in
            let most = work.settings.epochs
            var work = work
            work.epochs = part >= Double(most) ? .max : max(1, Int(part), (most + 15) / 16)
            return TrainingCourse(work: work)
        }
        return PlanStep(next: batch(.train(unfinished())), phase: phase)
    }

    private func unfinished() -> [TrainingWork] {
        trainings.filter { $0.parameters == nil }.map(\.work)
    }

    /// Takes the results of the trainings' parts.
    ///
    /// - Returns: the next parts; nil when all trainings have their parameters.
    private mutating func goOnTraining(_ results: BatchResults) throws -> PlanStep? {
        for (item, k) in trainings.indices.filter({ trainings[$0].parameters == nil }).enumerated() {
            guard let blob = results.trained[item] else { throw WorkFailure("training gave no parameters") }
            trainings[k].epochs += results.epochs[item]
            // Nothing that a trainer says makes a training go on for ever.
            let isOver = trainings[k].epochs.count >= trainings[k].work.settings.epochs
            if isOver || results.epochs[item].last?.isLast ?? true {
                trainings[k].parameters = blob
            } else {
                trainings[k].work.start = .resumed(blob)
            }
        }
        let works = unfinished()
        return works.isEmpty ? nil : PlanStep(next: batch(.train(works)), phase: phase)
    }

    /// Version 1: the surrogate to judge.
    private mutating func publish(_ parameters: BlobReference) -> PlanStep {
        self.parameters = parameters
        version = 1
        phase = .predict
        var step = PlanStep(next: judgement(of: parameters, training: training), phase: .predict)
        step.published = [(1, parameters)]
        return step
    }

    /// Predictions on everything that a table row needs.
    private func judgement(of parameters: BlobReference, training: Samples) -> PlanStep.Next {
        let inputs = training.inputs + test.inputs + attackTest.inputs + validation.inputs
        return batch(.predict(parameters: parameters, inputs: inputs))
    }

    private func tableRow(_ predictions: [Double], training: Samples) throws(WorkFailure) -> TableRow {
        guard predictions.allSatisfy(\.isFinite) else {
            throw WorkFailure("the surrogate predicts numbers that are not finite")
        }
        var rest = predictions[...]
        func summary(_ set: Samples) -> ErrorSummary? {
            defer { rest = rest.dropFirst(set.count) }
            return set.count == 0
                ? nil : ErrorSummary(predictions: Array(rest.prefix(set.count)), labels: set.labels)
        }
        let nothing = ErrorSummary(predictions: [.nan], labels: [.nan])
        let trainingSummary = summary(training) ?? nothing
        let clean = summary(test) ?? nothing
        var success: Double?
        if let attack = study.attack {
            let hits = zip(rest, attackTest.labels).filter { attack.succeeds(prediction: $0, label: $1) }.count
            success = Double(hits) / Double(attackTest.count)
        }
        let attackSummary = summary(attackTest)
        return TableRow(
            training: trainingSummary, clean: clean, attack: attackSummary, attackSuccess: success,
            validationMSE: summary(validation)?.mse)
    }

    // MARK: Search

    private mutating func predicted(_ results: BatchResults) throws -> PlanStep {
        before = try tableRow(results.numbers, training: training)
        let errors = (0..<training.count).map { abs(results.numbers[$0] - training.labels[$0]) }
        trainingErrors = errors.sorted()
        var seeds: [Double]
        switch study.search.seeds {
        case .worst(let share):
            let order = (0..<training.count).sorted { a, b in errors[a] != errors[b] ? errors[a] > errors[b] : a < b }
            let count = min(training.count, max(1, Int((share * Double(training.count)).rounded())))
            seeds = training.rows(Array(order.prefix(training.count == 0 ? 0 : count))).inputs
        case .random(let count):
            var stream = stream(.seeds)
            seeds = try study.domain.sample(count, from: &stream)
        case .attached:
            seeds = attachments.seeds ?? []
        }
        seedsAsked = seeds.count / dimension
        weights = [Int](repeating: 1, count: seedsAsked)
        return search(from: seeds)
    }

    /// Oracle calls that one seed can take at the most in a stage.
    private func dearest(_ stage: AscentStage) -> Int {
        switch gradient {
        case .own: stage.steps + 1
        case .differences: stage.steps * (2 * dimension + 1) + 1
        }
    }

    private mutating func search(from seeds: [Double]) -> PlanStep {
        phase = .search
        let settings = study.search.stages[stage]
        var seeds = seeds
        if let budget = study.search.oracleCalls {
            // The seeds whose dearest ascent still fits, the most promising first: the same ones on any cluster.
            let affordable = max(0, budget - calls.search) / dearest(settings)
            if affordable < seeds.count / dimension {
                incomplete.append(
                    "search stage \(stage + 1): the budget of \(budget) oracle calls is enough for \(affordable) of "
                        + "\(seeds.count / dimension) seeds")
                seeds = Array(seeds.prefix(affordable * dimension))
                weights = Array(weights.prefix(affordable))
            }
        }
        if stage == 0 { seedCount = seeds.count / dimension }
        guard !seeds.isEmpty, let parameters else { return certify() }
        return PlanStep(
            next: batch(.ascend(surface, parameters: parameters, stage: settings, seeds: seeds)), phase: .search,
            note: "stage \(stage + 1): climbing from \(seeds.count / dimension) seeds")
    }

    private mutating func searched(_ results: BatchResults) -> PlanStep {
        calls.search += results.oracleCalls
        let unique = merge(results.maximizers, weights, [Int](repeating: stage + 1, count: results.maximizers.count))
        stage += 1
        guard stage < study.search.stages.count else {
            found = settled
            found.maximizers.append(unique.maximizers)
            found.seeds += unique.seeds
            found.stages += unique.stages
            found = merge(found.maximizers, found.seeds, found.stages)
            return reprice()
        }
        // The largest go on; the others stay what they are.
        let keep = Int((study.search.stages[stage].keep * Double(unique.maximizers.count)).rounded(.up))
        let rest = Array(keep..<unique.maximizers.count)
        settled.maximizers.append(unique.maximizers.rows(rest))
        settled.seeds += rest.map { unique.seeds[$0] }
        settled.stages += rest.map { unique.stages[$0] }
        weights = Array(unique.seeds.prefix(keep))
        return search(from: unique.maximizers.rows(Array(0..<keep)).inputs)
    }

    private func merge(_ maximizers: Maximizers, _ seeds: [Int], _ stages: [Int]) -> Found {
        let unique = maximizers.unique(within: study.search.mergeRadius)
        var merged = Found(
            maximizers: maximizers.rows(unique.rows), seeds: [Int](repeating: 0, count: unique.rows.count),
            stages: unique.rows.map { stages[$0] })
        for (row, owner) in unique.owners.enumerated() where owner >= 0 { merged.seeds[owner] += seeds[row] }
        return merged
    }

    // MARK: Noise

    /// How many times the paths a doubtful price takes.
    private static let refinement = 16
    /// A maximizer whose error is below this many standard errors is priced again. It is twice what is asked of it then: the
    /// largest of thousands of noisy errors passes four by chance.
    private static let doubtful = 8.0
    /// A maximizer whose error on the other paths is below this many standard errors is noise.
    private static let significant = 4.0

    /// Maximizers that may be noise, by their row in `found`.
    private func doubts() -> [Int] {
        (0..<found.maximizers.count).filter { row in
            abs(found.maximizers.error(row)) < Self.doubtful * found.maximizers.standardErrors[row]
        }
    }

    private mutating func reprice() -> PlanStep {
        let rows = doubts()
        guard let refined, !rows.isEmpty else { return certify() }
        phase = .reprice
        let points = study.domain.raw(rows: found.maximizers.rows(rows).inputs)
        return PlanStep(
            next: batch(.label(refined, points: points)), phase: .reprice,
            note: "pricing \(rows.count) maximizers of \(found.maximizers.count) on \(Self.refinement) times the paths")
    }

    /// Keeps what the better prices confirm.
    private mutating func repriced(_ results: BatchResults) -> PlanStep {
        let rows = doubts()
        calls.repricing += results.oracleCalls
        noise.repriced = rows.count
        var dropped = Set<Int>()
        for (item, row) in rows.enumerated() {
            // Without a second opinion the first stands.
            guard let label = price(results, item, found.maximizers.input(row)) else { continue }
            let error = abs(study.labelScale) * results.valuations.standardErrors[item]
            if abs(found.maximizers.predictions[row] - label) < Self.significant * error {
                dropped.insert(row)
            } else {
                found.maximizers.labels[row] = label
                found.maximizers.standardErrors[row] = error
            }
        }
        noise.dropped = dropped.count
        let kept = (0..<found.maximizers.count).filter { !dropped.contains($0) }
        let (seeds, stages) = (kept.map { found.seeds[$0] }, kept.map { found.stages[$0] })
        // Better labels may change the order.
        found = merge(found.maximizers.rows(kept), seeds, stages)
        return certify()
    }

    // MARK: Certificates and scan

    /// The distance at which a maximizer is probed, and the number of directions.
    package static let probe = (radius: 0.001, directions: 16)

    private mutating func certify() -> PlanStep {
        phase = .certify
        guard found.maximizers.count > 0, let parameters else { return conclude() }
        let probe = ProbeSettings(
            radius: Self.probe.radius, directions: Self.probe.directions, randomSeed: study.randomSeed)
        return PlanStep(
            next: batch(.probe(surface, parameters: parameters, probe, found.maximizers)), phase: .certify,
            note: "\(found.maximizers.count) unique maximizers")
    }

    private mutating func certified(_ results: BatchResults, threads: Int) -> PlanStep {
        calls.certificates += results.oracleCalls
        gains = results.numbers
        let tree = NeighbourTree(training.inputs, dimension: dimension)
        self.tree = tree
        let volume = BallVolume(domain: study.domain)
        findings = study.scan.judge(
            found.maximizers, tree: tree, trainingErrors: trainingErrors, volume: volume, threads: threads)
        let suspicious = found.maximizers.rows(findings.indices.filter { findings[$0].isSuspicious })
        let note = "\(suspicious.count) suspicious of \(found.maximizers.count) maximizers"

        switch study.mitigation.action {
        case .none:
            var step = conclude()
            step.note = note
            return step
        case .verify:
            verification = Verification(nearest: study.mitigation.nearest)
            let rows = verification!.near(suspicious, tree)
            return verify(rows, note: note)
        case .purge, .relabel:
            let (chain, lonely) = BackdoorScan.crowd(
                around: found.maximizers, findings: findings, tree: tree, link: study.mitigation.purgeLink,
                volume: volume)
            for row in lonely {
                leaveUndone(
                    "\(study.mitigation.action.rawValue): no sample near suspicious maximizer \(row + 1) has an overfull ball "
                        + "of its own, so that none was touched; action verify asks the oracle about them")
            }
            guard study.mitigation.action == .purge else {
                verification = Verification(nearest: study.mitigation.nearest)
                return verify(chain, note: note)
            }
            flagged = chain.map { FlaggedSample(row: $0, reason: .overfull, label: nil) }
            let removed = Set(chain)
            mitigated = training.rows((0..<training.count).filter { !removed.contains($0) })
            var step = retrain()
            step.note = note
            return step
        }
    }

    // MARK: Mitigation

    private mutating func verify(_ rows: [Int], note: String?) -> PlanStep {
        phase = .mitigate
        guard !rows.isEmpty else {
            var corrected = training
            for sample in flagged { corrected.labels[sample.row] = sample.label! }
            mitigated = corrected
            flagged.sort { $0.row < $1.row }
            var step = retrain()
            step.note = note ?? step.note
            return step
        }
        verification!.asked = rows
        let points = study.domain.raw(rows: training.rows(rows).inputs)
        return PlanStep(next: batch(.label(oracle, points: points)), phase: .mitigate, note: note)
    }

    private mutating func mitigate(_ results: BatchResults) -> PlanStep {
        calls.mitigation += results.oracleCalls
        let rows = verification!.asked
        var wrong: [Int] = []
        for (item, row) in rows.enumerated() {
            guard let label = price(results, item, training.input(row)) else { continue }
            if abs(training.labels[row] - label) > study.mitigation.tolerance {
                flagged.append(FlaggedSample(row: row, reason: .wrongLabel, label: label))
                wrong.append(row)
            }
        }
        guard study.mitigation.action == .verify, let tree else { return verify([], note: nil) }
        return verify(verification!.near(wrong, tree), note: nil)
    }

    private mutating func retrain() -> PlanStep {
        phase = .retrain
        let samples = mitigated ?? training
        // The suspicious maximizers and a spread of the others, with their right labels.
        let spread = found.maximizers.unique(within: study.mitigation.mergeRadius).rows
        let chosen = Set(spread).union(findings.indices.filter { findings[$0].isSuspicious }).sorted()
        let picked = found.maximizers.rows(chosen)
        added = Samples(dimension: dimension, inputs: picked.inputs, labels: picked.labels)
        guard samples.count > 0, let parameters else { return conclude() }
        let bytes = (samples.encoded, added.encoded)
        let works = study.mitigation.weights.enumerated().map { k, weight in
            TrainingWork(
                start: .from(parameters), samples: BlobReference(to: bytes.0), second: BlobReference(to: bytes.1),
                weightOfFirst: weight, settings: study.mitigation.training, randomSeed: study.randomSeed,
                run: UInt32(1 + k))
        }
        var step = train(works, rows: samples.count)
        step.blobs = [bytes.0, bytes.1]
        step.note = "retraining on \(samples.count) samples and \(added.count) maximizers"
        return step
    }

    private mutating func retrained(_ results: BatchResults) throws -> PlanStep {
        if let next = try goOnTraining(results) { return next }
        retrained = trainings.map { $0.parameters! }
        var step = judgeNext()
        step.published = retrained.enumerated().map { (version + 1 + $0, $1) }
        return step
    }

    private mutating func judgeNext() -> PlanStep {
        phase = .judge
        guard variants.count < retrained.count else { return conclude() }
        return PlanStep(
            next: judgement(of: retrained[variants.count], training: mitigated ?? training), phase: .judge)
    }

    private mutating func judged(_ results: BatchResults) throws -> PlanStep {
        let k = variants.count
        variants.append(
            StudyOutcome.Variant(
                weight: study.mitigation.weights[k],
                table: try tableRow(results.numbers, training: mitigated ?? training),
                parameters: retrained[k], version: version + 1 + k))
        return judgeNext()
    }

    // MARK: Outcome

    private mutating func conclude() -> PlanStep {
        phase = .done
        guard let parameters, let before else {
            return PlanStep(next: .failed("the study ended before it had a surrogate"), phase: .done)
        }
        var outcome = StudyOutcome(
            study: study, training: training, origins: origins, added: added, flagged: flagged,
            maximizers: found.maximizers, findings: findings, seedsPerMaximizer: found.seeds, residualGains: gains,
            stages: found.stages, version: version, parameters: parameters, before: before)
        outcome.seeds = seedCount
        outcome.seedsAsked = seedsAsked
        outcome.epochs = epochs
        outcome.variants = variants
        outcome.chosen = variants.indices.min { a, b in
            (variants[a].table.validationMSE ?? 0) < (variants[b].table.validationMSE ?? 0)
        }
        outcome.oracleCalls = calls
        outcome.noise = noise
        outcome.oracleFingerprint = oracle.fingerprint
        outcome.incomplete = incomplete + (unnamed > 0 ? ["and \(unnamed) more"] : [])
        if let attack = study.attack {
            func holds(_ box: [ClosedRange<Double>], _ row: Int) -> Bool {
                zip(found.maximizers.input(row), box).allSatisfy { $1.contains($0) }
            }
            for row in 0..<found.maximizers.count where holds(attack.outerBox, row) {
                if holds(attack.innerBox, row) { outcome.inRegion += 1 } else { outcome.inSurround += 1 }
            }
        }
        return PlanStep(next: .finished(outcome), phase: .write)
    }
}

/// Which samples to ask the oracle about: those near suspicious maximizers, then near every wrong label.
///
/// Wrong labels lie together, so the neighbours of one lead to the next. *Neighbours* is taken both ways (the `nearest`
/// samples of the wrong one, and those that have it among their own nearest): a sample at the rim of a region has the
/// region among its neighbours more often than the other way round.
private struct Verification: Sendable {
    let nearest: Int
    var asked: [Int] = []
    private var seen: Set<Int> = []
    /// Squared distance to the `nearest`th neighbour, where it was needed.
    private var reach: [Int: Double] = [:]

    init(nearest: Int) { self.nearest = nearest }

    /// Samples near maximizers that were not asked about yet, ascending.
    mutating func near(_ maximizers: Maximizers, _ tree: NeighbourTree) -> [Int] {
        take((0..<maximizers.count).flatMap { tree.nearest(nearest, to: Array(maximizers.input($0))) })
    }

    /// Samples near wrong ones that were not asked about yet, ascending.
    mutating func near(_ wrong: [Int], _ tree: NeighbourTree) -> [Int] {
        var rows: [Int] = []
        for row in wrong {
            let point = tree.point(row)
            rows += tree.nearest(nearest, to: point)
            let around = 2 * squaredReach(row, tree).squareRoot()
            for other in tree.rows(around: point, radius: around) where !seen.contains(other) {
                if squaredDistance(row, other, tree) <= squaredReach(other, tree) { rows.append(other) }
            }
        }
        return take(rows)
    }

    private mutating func take(_ rows: [Int]) -> [Int] {
        let new = Set(rows).subtracting(seen)
        seen.formUnion(new)
        return new.sorted()
    }

    private mutating func squaredReach(_ row: Int, _ tree: NeighbourTree) -> Double {
        if let known = reach[row] { return known }
        // The row itself is its own nearest.
        let farthest = tree.nearest(nearest + 1, to: tree.point(row)).last ?? row
        let square = squaredDistance(row, farthest, tree)
        reach[row] = square
        return square
    }

    private func squaredDistance(_ a: Int, _ b: Int, _ tree: NeighbourTree) -> Double {
        zip(tree.point(a), tree.point(b)).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }
}
