// The admissible pairs of two coupled inputs.

/// A convex polygon in the unit square, its corners counter-clockwise.
struct ConvexPolygon: Sendable, Hashable {
    struct Corner: Sendable, Hashable {
        var x: Double
        var y: Double
    }

    /// A half-plane a x + b y <= bound that cut the square.
    struct Cut: Sendable, Hashable {
        var a: Double
        var b: Double
        var bound: Double
    }

    let corners: [Corner]
    let cuts: [Cut]

    static let unitSquare = ConvexPolygon(
        corners: [Corner(x: 0, y: 0), Corner(x: 1, y: 0), Corner(x: 1, y: 1), Corner(x: 0, y: 1)], cuts: [])

    /// What is left on the side a x + b y <= bound (Sutherland and Hodgman).
    func cut(_ a: Double, _ b: Double, _ bound: Double) -> ConvexPolygon {
        let excess = corners.map { a * $0.x + b * $0.y - bound }
        var kept: [Corner] = []
        for i in corners.indices {
            let j = (i + 1) % corners.count
            if excess[i] <= 0 { kept.append(corners[i]) }
            if (excess[i] < 0 && excess[j] > 0) || (excess[i] > 0 && excess[j] < 0) {
                let t = excess[i] / (excess[i] - excess[j])
                kept.append(
                    Corner(
                        x: corners[i].x + t * (corners[j].x - corners[i].x),
                        y: corners[i].y + t * (corners[j].y - corners[i].y)))
            }
        }
        return ConvexPolygon(corners: kept, cuts: cuts + [Cut(a: a, b: b, bound: bound)])
    }

    var area: Double {
        guard corners.count > 2 else { return 0 }
        var sum = 0.0
        for i in corners.indices {
            let (p, q) = (corners[i], corners[(i + 1) % corners.count])
            sum += p.x * q.y - q.x * p.y
        }
        return sum / 2
    }

    func contains(_ x: Double, _ y: Double, slack: Double) -> Bool {
        guard x >= -slack, x <= 1 + slack, y >= -slack, y <= 1 + slack else { return false }
        return cuts.allSatisfy { $0.a * x + $0.b * y <= $0.bound + slack * (abs($0.a) + abs($0.b)) }
    }

    /// The nearest point of the polygon; a point inside stays as it is.
    func nearest(_ x: Double, _ y: Double) -> (Double, Double) {
        if contains(x, y, slack: 0) { return (x, y) }
        var best = (x: x, y: y)
        var least = Double.infinity
        for i in corners.indices {
            let (p, q) = (corners[i], corners[(i + 1) % corners.count])
            let (dx, dy) = (q.x - p.x, q.y - p.y)
            let length = dx * dx + dy * dy
            let t = length > 0 ? min(1, max(0, ((x - p.x) * dx + (y - p.y) * dy) / length)) : 0
            let (nx, ny) = t == 1 ? (q.x, q.y) : (p.x + t * dx, p.y + t * dy)
            let distance = (x - nx) * (x - nx) + (y - ny) * (y - ny)
            if distance < least { (least, best) = (distance, (nx, ny)) }
        }
        return best
    }
}
