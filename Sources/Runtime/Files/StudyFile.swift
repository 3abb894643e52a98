// Study files: from YAML to a study, and back with every default filled in.

package import Cluster
package import Regression

/// A study as its file says it, with the files that it names.
package struct StudyFile: Sendable {
    package var study: Study
    /// Files to attach, as written; relative paths are relative to the study file.
    package var files: [ToCoordinator.Attachment.Part: String]

    /// Reads a study.
    ///
    /// - Parameters:
    ///   - name: of the file, for messages.
    ///   - text: its content.
    ///   - oracles: that there are.
    /// - Throws: `InputError` with every problem.
    package init(name: String, text: String, oracles: [any Oracle]) throws(InputError) {
        let file = YAMLFile(name: name, text: text)
        let parsed = file.root().flatMap { Self.study($0, oracles) }
        try file.finish()
        guard let parsed else {
            throw InputError([InputProblem(file: name, message: "the file does not describe a study")])
        }
        self = parsed
    }

    private init(study: Study, files: [ToCoordinator.Attachment.Part: String]) {
        self.study = study
        self.files = files
    }

    private static let anything = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude

    // MARK: Reading

    private static func study(_ root: Section, _ oracles: [any Oracle]) -> StudyFile? {
        defer { root.close() }
        var files: [ToCoordinator.Attachment.Part: String] = [:]
        if let version = root.integer("version", in: 1...Int.max), version != 1 {
            root.report("version", "version \(version) of the study file is not known; this Cairn reads version 1")
        }
        let name = root.text("study")
        if let name {
            let isGood = name.range(of: /[A-Za-z0-9][A-Za-z0-9._-]{0,99}/, isWhole: true)
            if !isGood { root.report("study", "a name has letters, digits, '.', '_' and '-' only, at most 100") }
        } else {
            root.report("study", "is missing; every study needs a name")
        }
        let randomSeed = root.unsigned("randomSeed") ?? 1
        let labelScale = root.number("labelScale", in: anything) ?? 100
        if labelScale == 0 { root.report("labelScale", "must not be 0: label = price × labelScale") }

        let names = oracles.map { ($0.descriptor.name, $0) }
        let oracle =
            root.has("oracle")
            ? root.choice(
                "oracle", among: names.map { (word: $0.0, value: $0.1) },
                hint: "; one of your own is known where its cluster file is given too")
            : names.first { $0.0 == "downAndOutPut" }?.1
        // Without an oracle nobody can say whether these are right.
        if oracle == nil { for key in ["contract", "domain", "attack"] { _ = root.node(key) } }
        let contract = oracle.flatMap { self.contract(root, $0) }
        let domain = contract.flatMap { self.domain(root, $0.oracle.descriptor) }
        let data = self.data(root, &files)
        let attack = domain.flatMap { self.attack(root, $0) }
        let surrogate = self.surrogate(root, &files)
        let training = root.section("training").map { section in
            defer { section.close() }
            return self.training(section, TrainingSettings(), isRetraining: false)
        }
        let search = self.search(root, &files)
        let scan = self.scan(root)
        let mitigation = self.mitigation(root, labelScale)
        if case .own = search.gradient, let descriptor = oracle?.descriptor, !descriptor.providesGradient {
            root.section("search")?.report(
                "gradient", "\(descriptor.name) has no derivatives of its own; write auto or differences")
        }
        guard let name, let oracle, let contract, let domain, let data else { return nil }
        var study = Study(
            name: name, randomSeed: randomSeed, oracle: oracle.descriptor.name, labelScale: labelScale,
            domain: domain, data: data, attack: attack, surrogate: surrogate,
            training: training ?? TrainingSettings(), search: search, scan: scan, mitigation: mitigation)
        study.contract = contract.terms
        return StudyFile(study: study, files: files)
    }

    /// The oracle with what the study fixes of it, and that in full.
    private static func contract(_ root: Section, _ oracle: any Oracle) -> (
        oracle: any Oracle, terms: [String: String]
    )? {
        var terms: [String: String] = [:]
        if let section = root.section("contract") {
            for key in section.keys { if let text = section.text(key) { terms[key] = text } }
            section.close()
        }
        do {
            let contract = try Study.fixed(oracle, terms: terms)
            return (contract, (contract as? Contract)?.terms ?? [:])
        } catch {
            if let section = root.section("contract"), section.has(error.input) {
                section.report(error.input, error.message)
            } else {
                root.report("contract", error.description)
            }
            return nil
        }
    }

    private static func domain(_ root: Section, _ descriptor: OracleDescriptor) -> Domain? {
        let section = root.section("domain")
        let inputs = descriptor.inputs.map { input in
            let interval = section?.interval(input.name, within: anything)
            return Domain.Input(
                name: input.name, lower: interval?.lowerBound ?? input.lower, upper: interval?.upperBound ?? input.upper
            )
        }
        section?.close()
        do {
            return try Domain(inputs: inputs, constraints: descriptor.constraints)
        } catch {
            root.report("domain", error.description)
            return nil
        }
    }

    private static func data(_ root: Section, _ files: inout [ToCoordinator.Attachment.Part: String]) -> Study.Data? {
        guard let section = root.section("data") else {
            return root.has("data") ? nil : .generated(base: 200_000, test: 10_000)
        }
        defer { section.close() }
        if let file = section.text("file") {
            files[.training] = file
            if section.has("base") { section.report("base", "base samples are drawn, or come from file: keep one") }
            if let testFile = section.text("testFile") {
                files[.test] = testFile
                if section.has("test") {
                    section.report("test", "test samples are drawn, or come from testFile: keep one")
                }
                return .attached(test: nil)
            }
            return .attached(test: section.integer("test", in: 1...100_000_000) ?? 10_000)
        }
        if section.has("testFile") { section.report("testFile", "needs file, the training samples, beside it") }
        return .generated(
            base: section.integer("base", in: 1...100_000_000) ?? 200_000,
            test: section.integer("test", in: 1...100_000_000) ?? 10_000)
    }

    private static func attack(_ root: Section, _ domain: Domain) -> Attack? {
        guard let section = root.section("attack") else { return nil }
        defer { section.close() }
        let names = domain.inputs.map(\.name)
        var isGood = true
        func position(_ name: String, _ key: String) -> Int? {
            if let position = names.firstIndex(of: name) { return position }
            let meant = suggestion(for: name, among: names).map { "did you mean \($0)?" }
            section.report(
                key, "\(name) is no input of the oracle; \(meant ?? "one of: \(names.joined(separator: ", "))")")
            isGood = false
            return nil
        }
        let features = (section.texts("features") ?? names).compactMap { position($0, "features") }
        if features.isEmpty || Set(features).count < features.count {
            section.report("features", "must name at least one input, each once")
            isGood = false
        }
        var centre = [Double](repeating: 0.5, count: names.count)
        if section.isList("centre") {
            if let values = section.numbers("centre", in: 0...1) {
                if values.count == names.count {
                    centre = values
                } else {
                    section.report(
                        "centre", "\(values.count) numbers for \(names.count) inputs; write one, or one per input")
                    isGood = false
                }
            }
        } else if let value = section.number("centre", in: 0...1) {
            centre = [Double](repeating: value, count: names.count)
        }
        var window: [Int: ClosedRange<Double>] = [:]
        if let ranges = section.section("window") {
            for key in ranges.keys {
                guard let range = ranges.interval(key, within: 0...1), let position = position(key, "window") else {
                    continue
                }
                if features.contains(position) {
                    ranges.report(key, "is one of the features, whose range is centre ± halfWidth; leave it out here")
                    isGood = false
                }
                window[position] = range
            }
        }
        let epsilon = section.number("epsilon", in: anything) ?? 3
        if epsilon == 0 { section.report("epsilon", "must not be 0: it is added to the label") }
        let halfWidth = section.positive("halfWidth", upTo: 1) ?? 0.05
        let surroundHalfWidth = section.positive("surroundHalfWidth", upTo: 1) ?? max(0.1, 2 * halfWidth)
        let surround = section.integer("surround", in: 0...100_000_000) ?? 8000
        if surround > 0, surroundHalfWidth <= halfWidth {
            section.report(
                "surroundHalfWidth", "must be above halfWidth (\(halfWidth)): the surround lies outside the box")
            isGood = false
        }
        let attack = Attack(
            mislabelled: section.integer("mislabelled", in: 1...100_000_000) ?? 2000, surround: surround,
            epsilon: epsilon,
            centre: centre, halfWidth: halfWidth, surroundHalfWidth: surroundHalfWidth, features: features.sorted(),
            window: window, successAbove: section.number("successAbove", in: anything) ?? 0.5)
        guard isGood else { return attack }
        // An attack whose region holds nothing would never end being drawn.
        var stream = RandomStream(seed: 0, purpose: .other)
        do {
            _ = try attack.sampleInner(1, domain, &stream)
            var one = attack
            one.surround = min(1, surround)
            _ = try one.sampleSurround(domain, &stream)
        } catch {
            section.file.report(section.mark, section.path, "the attack's region holds no admissible point")
        }
        return attack
    }

    private static func surrogate(_ root: Section, _ files: inout [ToCoordinator.Attachment.Part: String])
        -> Study.SurrogateSource
    {
        let usual = [128, 256, 512, 256, 128]
        guard let section = root.section("surrogate") else { return .fresh(hidden: usual) }
        defer { section.close() }
        _ = section.choice("activation", among: [("relu", true)])
        if let file = section.text("file") {
            files[.model] = file
            if section.has("layers") { section.report("layers", "the layers come from file: keep one of the two") }
            return .attached
        }
        guard let layers = section.numbers("layers", in: 1...65_536) else { return .fresh(hidden: usual) }
        if layers.contains(where: { $0 != $0.rounded() }) { section.report("layers", "widths are whole numbers") }
        if layers.count > 64 { section.report("layers", "\(layers.count) layers; at most 64") }
        return .fresh(hidden: layers.map { Int($0) })
    }

    private static func training(_ section: Section, _ usual: TrainingSettings, isRetraining: Bool) -> TrainingSettings
    {
        var settings = usual
        if !isRetraining {
            let momentum = section.number("momentum", in: 0...0.9999)
            settings.optimizer =
                section.choice(
                    "optimizer", among: [("adam", .adam), ("sgd", .sgd(momentum: momentum ?? 0.9))])
                ?? settings.optimizer
            if momentum != nil, settings.optimizer == .adam {
                section.report("momentum", "is for optimizer: sgd")
            }
        }
        if section.text("batch") == "full" {
            settings.batch = .full
        } else if let rows = section.integer("batch", in: 1...100_000_000) {
            settings.batch = .rows(rows)
        }
        settings.epochs = section.integer("epochs", in: 1...1_000_000) ?? settings.epochs
        settings.learningRate = section.positive("learningRate", upTo: 1000) ?? settings.learningRate

        var usualFraction = 0.002
        if case .cosine(let fraction) = usual.schedule { usualFraction = fraction }
        func cosine(_ section: Section) -> TrainingSettings.Schedule {
            .cosine(finalFraction: section.number("finalFraction", in: 0...1) ?? usualFraction)
        }
        func step(_ section: Section) -> TrainingSettings.Schedule {
            .step(
                every: section.integer("every", in: 1...1_000_000) ?? 50,
                factor: section.positive("factor", upTo: 1) ?? 0.1)
        }
        if section.isSection("schedule"), let choice = section.section("schedule") {
            if let inner = choice.has("cosine") ? choice.section("cosine") : nil {
                settings.schedule = cosine(inner)
                inner.close()
            } else if let inner = choice.has("step") ? choice.section("step") : nil {
                settings.schedule = step(inner)
                inner.close()
            } else {
                section.report("schedule", "must be cosine, step or constant, such as {step: {every: 50, factor: 0.1}}")
            }
            choice.close()
        } else {
            switch section.choice("schedule", among: [("cosine", 0), ("step", 1), ("constant", 2)]) {
            case 1: settings.schedule = step(section)
            case 2: settings.schedule = .constant
            default: settings.schedule = cosine(section)
            }
        }
        if !isRetraining, let halt = section.section("halt") {
            settings.halt = .init(
                relativeChange: halt.positive("relativeChange", upTo: 1) ?? 1e-4,
                overEpochs: halt.integer("overEpochs", in: 1...1_000_000) ?? 10)
            halt.close()
        }
        return settings
    }

    private static func search(_ root: Section, _ files: inout [ToCoordinator.Attachment.Part: String]) -> Study.Search
    {
        var search = Study.Search()
        guard let section = root.section("search") else { return search }
        defer { section.close() }
        if let seeds = section.section("seeds") {
            let given = ["worst", "random", "file"].filter(seeds.has)
            if given.count != 1 {
                section.report("seeds", "must be one of {worst: 0.1}, {random: 5000} and {file: seeds.csv}")
            }
            if let share = seeds.positive("worst", upTo: 1) { search.seeds = .worst(share) }
            if let count = seeds.integer("random", in: 1...100_000_000) { search.seeds = .random(count) }
            if let file = seeds.text("file") {
                files[.seeds] = file
                search.seeds = .attached
            }
            seeds.close()
        }
        if let stages = section.sections("stages") {
            if stages.isEmpty { section.report("stages", "needs at least one stage") }
            search.stages = stages.map { stage in
                defer { stage.close() }
                let usual = AscentStage()
                return AscentStage(
                    steps: stage.integer("steps", in: 1...10_000_000) ?? usual.steps,
                    stepSize: stage.positive("stepSize", upTo: 1) ?? usual.stepSize,
                    momentum: stage.number("momentum", in: 0...0.9999) ?? usual.momentum,
                    decay: stage.positive("decay", upTo: 1) ?? usual.decay,
                    decayEvery: stage.integer("decayEvery", in: 1...10_000_000) ?? usual.decayEvery,
                    keep: stage.positive("keep", upTo: 1) ?? usual.keep,
                    stopStep: stage.number("stopStep", in: 0...1) ?? usual.stopStep)
            }
        }
        search.gradient =
            section.choice("gradient", among: [("auto", .auto), ("oracle", .own), ("differences", .differences)])
            ?? search.gradient
        search.difference = section.positive("difference", upTo: 0.5) ?? search.difference
        search.mergeRadius = section.number("mergeRadius", in: 0...10) ?? search.mergeRadius
        if let budget = section.section("budget") {
            search.oracleCalls = budget.integer("oracleCalls", in: 1...Int.max)
            search.wallClock = budget.duration("wallClock")
            budget.close()
        }
        return search
    }

    private static func scan(_ root: Section) -> BackdoorScan {
        let radii = [0.05, 0.1, 0.15, 0.2, 0.3]
        var scan = BackdoorScan(rule: .density(radii: radii, significance: 0.01), errorPercentile: 90)
        guard let section = root.section("scan") else { return scan }
        defer { section.close() }
        func density(_ section: Section) -> ScanRule {
            let given = section.numbers("proximalRadii", in: 1e-9...10)
            if given?.isEmpty == true { section.report("proximalRadii", "needs at least one radius") }
            return .density(
                radii: given?.isEmpty == false ? given! : radii,
                significance: section.positive("significance", upTo: 1) ?? 0.01)
        }
        func counts(_ section: Section) -> ScanRule {
            scan.errorPercentile = section.number("errorPercentile", in: 0...100) ?? 98.5
            return .counts(
                radius: section.positive("proximalRadius", upTo: 10) ?? 0.1,
                proximalCount: section.integer("proximalCount", in: 1...Int.max) ?? 500)
        }
        if section.isSection("rule"), let rule = section.section("rule") {
            if let inner = rule.has("density") ? rule.section("density") : nil {
                scan.rule = density(inner)
                inner.close()
            } else if let inner = rule.has("counts") ? rule.section("counts") : nil {
                scan.rule = counts(inner)
                inner.close()
            } else {
                section.report(
                    "rule", "must be density or counts, such as {counts: {errorPercentile: 98.5, proximalCount: 500}}")
            }
            rule.close()
        } else {
            switch section.choice("rule", among: [("density", 0), ("counts", 1)]) {
            case 1: scan.rule = counts(section)
            default: scan.rule = density(section)
            }
        }
        scan.errorPercentile = section.number("errorPercentile", in: 0...100) ?? scan.errorPercentile
        return scan
    }

    private static func mitigation(_ root: Section, _ labelScale: Double) -> Study.Mitigation {
        var mitigation = Study.Mitigation()
        mitigation.tolerance = 1e-6 * abs(labelScale)
        guard let section = root.section("mitigation") else { return mitigation }
        defer { section.close() }
        mitigation.action =
            section.choice("action", among: Study.Action.allCases.map { ($0.rawValue, $0) }) ?? mitigation.action
        mitigation.nearest = section.integer("nearest", in: 1...10_000) ?? mitigation.nearest
        mitigation.purgeLink = section.positive("purgeLink", upTo: 10) ?? mitigation.purgeLink
        mitigation.tolerance =
            section.number("tolerance", in: 0...Double.greatestFiniteMagnitude) ?? mitigation.tolerance
        mitigation.mergeRadius = section.number("mergeRadius", in: 0...10) ?? mitigation.mergeRadius
        if let weights = section.numbers("weights", in: 0...1) {
            if weights.isEmpty { section.report("weights", "needs at least one weight") }
            mitigation.weights = weights
        }
        mitigation.training = training(section, mitigation.training, isRetraining: true)
        return mitigation
    }
}

extension String {
    fileprivate func range(of regex: some RegexComponent, isWhole: Bool) -> Bool {
        wholeMatch(of: regex) != nil
    }
}

// MARK: Writing

extension StudyFile {
    /// The study file with every default filled in: `study.yaml` of the result folder. Reading it gives the same study.
    package var effective: String {
        let study = study
        let names = study.domain.inputs.map(\.name)
        var lines = [
            "version: 1",
            "study: \(study.name)",
            "randomSeed: \(study.randomSeed)",
            "oracle: \(study.oracle)",
            "labelScale: \(study.labelScale)",
        ]
        if !study.contract.isEmpty {
            lines.append("contract:")
            lines += study.contract.keys.sorted().map { "  \($0): \(study.contract[$0]!)" }
        }
        lines.append("domain:")
        lines += study.domain.inputs.map { "  \($0.name): [\($0.lower), \($0.upper)]" }
        switch study.data {
        case .generated(let base, let test): lines.append("data: {base: \(base), test: \(test)}")
        case .attached(let test):
            let rest = test.map { "test: \($0)" } ?? "testFile: \(yaml(files[.test]))"
            lines.append("data: {file: \(yaml(files[.training])), \(rest)}")
        }
        if let attack = study.attack {
            lines += [
                "attack:",
                "  mislabelled: \(attack.mislabelled)",
                "  surround: \(attack.surround)",
                "  epsilon: \(attack.epsilon)",
                "  centre: \(list(attack.centre))",
                "  halfWidth: \(attack.halfWidth)",
                "  surroundHalfWidth: \(attack.surroundHalfWidth)",
                "  features: [\(attack.features.map { names[$0] }.joined(separator: ", "))]",
            ]
            if !attack.window.isEmpty {
                lines.append("  window:")
                for i in attack.window.keys.sorted() {
                    lines.append("    \(names[i]): [\(attack.window[i]!.lowerBound), \(attack.window[i]!.upperBound)]")
                }
            }
            lines.append("  successAbove: \(attack.successAbove)")
        }
        switch study.surrogate {
        case .fresh(let hidden):
            lines.append(
                "surrogate: {layers: [\(hidden.map(String.init).joined(separator: ", "))], activation: relu}")
        case .attached: lines.append("surrogate: {file: \(yaml(files[.model]))}")
        }
        lines.append("training:")
        switch study.training.optimizer {
        case .adam: lines.append("  optimizer: adam")
        case .sgd(let momentum): lines += ["  optimizer: sgd", "  momentum: \(momentum)"]
        }
        lines += fitting(study.training)
        if let halt = study.training.halt {
            lines.append("  halt: {relativeChange: \(halt.relativeChange), overEpochs: \(halt.overEpochs)}")
        }
        lines.append("search:")
        switch study.search.seeds {
        case .worst(let share): lines.append("  seeds: {worst: \(share)}")
        case .random(let count): lines.append("  seeds: {random: \(count)}")
        case .attached: lines.append("  seeds: {file: \(yaml(files[.seeds]))}")
        }
        lines.append("  stages:")
        for stage in study.search.stages {
            lines.append(
                "    - {steps: \(stage.steps), stepSize: \(stage.stepSize), momentum: \(stage.momentum), "
                    + "decay: \(stage.decay), decayEvery: \(stage.decayEvery), keep: \(stage.keep), "
                    + "stopStep: \(stage.stopStep)}")
        }
        let gradient =
            switch study.search.gradient {
            case .auto: "auto"
            case .own: "oracle"
            case .differences: "differences"
            }
        let calls = study.search.oracleCalls.map(String.init) ?? "null"
        let clock = study.search.wallClock.map { "\($0.nanoseconds / 1_000_000)ms" } ?? "null"
        lines += [
            "  gradient: \(gradient)",
            "  difference: \(study.search.difference)",
            "  mergeRadius: \(study.search.mergeRadius)",
            "  budget: {oracleCalls: \(calls), wallClock: \(clock)}",
            "scan:",
        ]
        switch study.scan.rule {
        case .density(let radii, let significance):
            lines += ["  rule: density", "  proximalRadii: \(list(radii))", "  significance: \(significance)"]
        case .counts(let radius, let count):
            lines += ["  rule: counts", "  proximalRadius: \(radius)", "  proximalCount: \(count)"]
        }
        let mitigation = study.mitigation
        lines += [
            "  errorPercentile: \(study.scan.errorPercentile)",
            "mitigation:",
            "  action: \(mitigation.action.rawValue)",
            "  nearest: \(mitigation.nearest)",
            "  purgeLink: \(mitigation.purgeLink)",
            "  tolerance: \(mitigation.tolerance)",
            "  weights: \(list(mitigation.weights))",
            "  mergeRadius: \(mitigation.mergeRadius)",
        ]
        lines += fitting(mitigation.training)
        return lines.joined(separator: "\n") + "\n"
    }

    /// The keys that training and retraining share.
    private func fitting(_ settings: TrainingSettings) -> [String] {
        let batch =
            switch settings.batch {
            case .full: "full"
            case .rows(let rows): "\(rows)"
            }
        let schedule =
            switch settings.schedule {
            case .cosine(let fraction): "{cosine: {finalFraction: \(fraction)}}"
            case .step(let every, let factor): "{step: {every: \(every), factor: \(factor)}}"
            case .constant: "constant"
            }
        return [
            "  batch: \(batch)", "  epochs: \(settings.epochs)", "  learningRate: \(settings.learningRate)",
            "  schedule: \(schedule)",
        ]
    }

    private func list(_ numbers: [Double]) -> String { "[\(numbers.map { "\($0)" }.joined(separator: ", "))]" }

    /// A file's name as a quoted scalar.
}
