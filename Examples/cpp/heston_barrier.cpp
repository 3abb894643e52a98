// A down-and-out call under Heston's model, priced by Debian's QuantLib: apt-get install libquantlib0-dev.

#include <cairn_oracle.h>

// Not ql/quantlib.hpp, which is all of it and takes a compiler a minute.
#include <ql/exercise.hpp>
#include <ql/instruments/barrieroption.hpp>
#include <ql/models/equity/hestonmodel.hpp>
#include <ql/pricingengines/barrier/fdhestonbarrierengine.hpp>
#include <ql/processes/hestonprocess.hpp>
#include <ql/quotes/simplequote.hpp>
#include <ql/settings.hpp>
#include <ql/termstructures/yield/flatforward.hpp>
#include <ql/time/daycounters/actual365fixed.hpp>
#include <ql/version.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

using namespace QuantLib;

namespace {

const cairn_input inputs[] = {
    {"barrierOverSpot", "1", "the call ends when the share falls this low", 0.6, 0.95, 0, 0, nullptr, 0, nullptr},
    {"strikeOverSpot", "1", "strike", 0.8, 1.2, 0, 0, nullptr, 0, nullptr},
    {"maturityYears", "yr", "time to maturity, whole days", 0.25, 2, 0, 0, nullptr, 0, nullptr},
    {"rate", "1/yr", "continuous interest rate", 0, 0.1, 0, 0, nullptr, 0, nullptr},
    {"variance", "1/yr", "variance today", 0.01, 0.16, 0, 0, nullptr, 0, nullptr},
    {"meanReversion", "1/yr", "how fast variance goes back", 0.5, 4, 0, 0, nullptr, 0, nullptr},
    {"longVariance", "1/yr", "where it goes back to", 0.01, 0.16, 0, 0, nullptr, 0, nullptr},
    {"volOfVol", "1/yr", "volatility of variance", 0.05, 0.8, 0, 0, nullptr, 0, nullptr},
    {"correlation", "1", "of share and variance", -0.9, 0.5, 0, 0, nullptr, 0, nullptr},
};
constexpr size_t width = sizeof inputs / sizeof inputs[0];

const uint32_t barrierAndStrike[] = {0, 1};
const double signs[] = {1, -1};
const cairn_constraint constraints[] = {{"barrierOverSpot<=strikeOverSpot", barrierAndStrike, signs, 2, 0}};

// Variance that hardly moves: the closed form at volatility 0.2, and what the grid is off by.
const double point[] = {0.8, 1.0, 1.0, 0.05, 0.04, 2.0, 0.04, 0.05, 0.0};
const cairn_test_vector vectors[] = {{point, 0.103513, 2e-4}};

Handle<YieldTermStructure> curve(const Date &today, double rate) {
    return Handle<YieldTermStructure>(ext::make_shared<FlatForward>(today, rate, Actual365Fixed()));
}

double price(const double (&x)[width]) {
    const Date today = Settings::instance().evaluationDate();
    const auto days = std::max(1L, std::lround(365 * x[2]));
    BarrierOption option(
        Barrier::DownOut, x[0], 0.0, ext::make_shared<PlainVanillaPayoff>(Option::Call, x[1]),
        ext::make_shared<EuropeanExercise>(today + static_cast<Integer>(days)));
    const auto process = ext::make_shared<HestonProcess>(
        curve(today, x[3]), curve(today, 0), Handle<Quote>(ext::make_shared<SimpleQuote>(1.0)), x[4], x[5], x[6], x[7],
        x[8]);
    option.setPricingEngine(
        ext::make_shared<FdHestonBarrierEngine>(ext::make_shared<HestonModel>(process), 50, 100, 25));
    return option.NPV();
}

int evaluate(void *, const cairn_batch *batch, cairn_result *result) {
    for (size_t k = 0; k < batch->count; k++) {
        double x[width];
        for (size_t i = 0; i < width; i++) x[i] = batch->inputs[i * batch->count + k];
        // What QuantLib throws fails this point alone.
        try {
            if (x[0] >= 1) {
                result->statuses[k] = CAIRN_EXTENDED;
            } else {
                result->prices[k] = price(x);
            }
        } catch (const QuantLib::Error &) {
            // The input is outside of what the grid covers.
            result->statuses[k] = CAIRN_INVALID;
        } catch (const std::exception &problem) {
            result->statuses[k] = CAIRN_FAILED;
            std::snprintf(result->message, result->message_size, "%s", problem.what());
        }
    }
    return 0;
}

} // namespace

int main() {
    Settings::instance().evaluationDate() = Date(15, May, 2026);
    const std::string fingerprint = std::string("1-QuantLib-") + QL_VERSION;
    cairn_oracle oracle = {};
    oracle.abi_version = CAIRN_ORACLE_ABI;
    oracle.struct_size = sizeof oracle;
    oracle.name = "hestonBarrier";
    oracle.version = "1";
    oracle.fingerprint = fingerprint.c_str();
    oracle.summary = "Down-and-out call, spot 1, Heston's model";
    oracle.citation = "in 't Hout and Foulon 2010; QuantLib's FdHestonBarrierEngine, 50 x 100 x 25";
    oracle.licence = "BSD-3-Clause";
    oracle.inputs = inputs;
    oracle.input_count = width;
    oracle.constraints = constraints;
    oracle.constraint_count = 1;
    oracle.test_vectors = vectors;
    oracle.test_vector_count = 1;
    oracle.cost_seconds = 0.05;
    oracle.evaluate = evaluate;
    return cairn_oracle_main(&oracle);
}
