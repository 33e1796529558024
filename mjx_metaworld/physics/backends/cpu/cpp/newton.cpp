// The Newton solver of solver.py and line_search.py for a CPU: all of a substep's environments in one call.
//
// LANES environments are solved side by side, each in an element of a vector, by loops that end with the slowest of
// them; an environment that has converged stays as it is. Arrays are (tiles, ..., L) as XLA holds them, so a value of
// consecutive environments is a vector in memory.
//
// Contacts touch few of the three blocks of dofs (robot, free body, part), and the blocks that none of the lanes'
// contacts touches are left out of products with their rows.

#include <memory>

#include "ffi.hpp"
#include "lanes.hpp"
#include "linalg.hpp"

namespace {

constexpr int NV = 18, ARM = 7, WELD = 6;
constexpr int BLOCKS = 3, FIRST[BLOCKS + 1] = {0, 9, 15, NV};  // dofs of robot, free body and part
constexpr float TINY = 1e-15f;                                 // as in cone.py
constexpr float INFINITE = std::numeric_limits<float>::infinity();

struct Settings {
    std::int32_t iterations, searches;
    float tolerance, flat, rounding;
};

// Operands and results of a tile, in their order.
struct Arrays {
    const float *robot, *free_body, *part;          // (9, 9, L), (6, 6, L), (3, 3, L) of the mass matrix
    const float* qfrc_smooth;                       // (18, L)
    const float *weld_jac, *weld_d, *weld_aref;     // (6, 7, L), (6, L), (6, L)
    const float *limit_jac, *limit_d, *limit_aref;  // (18, L)
    const float *contact_jac, *contact_d, *contact_aref, *contact_mu;  // (K, R, 18, L), (K, L), (K, R, L), (K, L)
    const std::int32_t* num_contacts;               // (L,)
    const float* warmstart;                         // (18, L)
    float *qacc, *qfrc_constraint, *normal_force;   // (18, L), (18, L), (K, L)
    std::int32_t* iterations;                       // (L,)
};

template <int R>
struct Contact {
    Vector jaref[R], jv[R];  // J qacc - aref, and its change along the search direction
    Vector d, mu, cone_d;    // cone_d: D / (1 + mu^2)
    bool touches[BLOCKS];    // which dofs move one of its bodies in any lane
};

struct Zone {
    Vector normal, tangent;  // tangent: length over the other rows
    Mask satisfied, quadratic;
};

template <int R>
Zone zone_of(const Vector* jaref, Vector mu) {
    Vector squares = jaref[1] * jaref[1];
    for (int r = 2; r < R; ++r) squares += jaref[r] * jaref[r];
    const Vector normal = jaref[0], tangent = root(squares);
    const Mask satisfied = normal >= mu * tangent;
    return {normal, tangent, satisfied, (mu * normal + tangent <= 0.0f) & ~satisfied};
}

Vector by_zone(const Zone& zone, Vector quadratic, Vector on_cone) {
    return choose(zone.quadratic, quadratic, choose(zone.satisfied, Vector{}, on_cone));
}

template <int R>
Vector cost_of(const Contact<R>& contact, const Vector* jaref) {
    const Zone zone = zone_of<R>(jaref, contact.mu);
    const Vector gap = zone.normal - contact.mu * zone.tangent;
    const Vector quadratic = contact.d * (zone.normal * zone.normal + zone.tangent * zone.tangent);
    return 0.5f * by_zone(zone, quadratic, contact.cone_d * gap * gap);
}

// True where a contact stays in its quadratic zone when its residuals become others.
template <int R>
Mask stays(const Contact<R>& contact, const Vector* jaref) {
    const Zone before = zone_of<R>(contact.jaref, contact.mu), after = zone_of<R>(jaref, contact.mu);
    return (before.satisfied & after.satisfied) | (before.quadratic & after.quadratic) | (contact.d == 0.0f);
}

// Sums over the dofs [FROM, TO) of a contact's rows times two vectors.
template <int R, int FROM, int TO, bool WHOLE>
void add_products(const Place<WHOLE>& at, const float* jac, std::int64_t row, const Vector* x, Vector* sums) {
    for (int r = 0; r < R; ++r) {
        Vector sum = sums[r];
        for (int i = FROM; i < TO; ++i) sum += at.load(jac, (row + r) * NV + i) * x[i];
        sums[r] = sum;
    }
}

// A contact's rows times a vector.
template <int R, bool WHOLE>
void products(const Place<WHOLE>& at, const float* jac, std::int64_t row, const bool* touches, const Vector* x,
              Vector* sums) {
    for (int r = 0; r < R; ++r) sums[r] = Vector{};
    if (touches[0]) add_products<R, FIRST[0], FIRST[1]>(at, jac, row, x, sums);
    if (touches[1]) add_products<R, FIRST[1], FIRST[2]>(at, jac, row, x, sums);
    if (touches[2]) add_products<R, FIRST[2], FIRST[3]>(at, jac, row, x, sums);
}

// Rows of W, whose products with themselves are a contact's Hessian, and its forces, for one block of dofs.
template <int R, int BLOCK, bool WHOLE>
void weigh(const Place<WHOLE>& at, const float* jac, std::int64_t row, const Vector* jaref, const Vector* own,
           const Vector* along, const Vector* force, Vector (*w)[NV], Vector* gradient) {
    for (int i = FIRST[BLOCK]; i < FIRST[BLOCK + 1]; ++i) {
        Vector j[R], work{};
        for (int r = 0; r < R; ++r) j[r] = at.load(jac, (row + r) * NV + i);
        for (int r = 1; r < R; ++r) work += jaref[r] * j[r];
        Vector push{};
        for (int r = 0; r < R; ++r) {
            w[r][i] = own[r] * j[r] + along[r] * work;
            push += force[r] * j[r];
        }
        gradient[i] -= push;
    }
}

template <int R, int ROWS, int COLUMNS>
void add_square(const Vector (*w)[NV], Vector (*hessian)[NV]) {
    for (int i = FIRST[ROWS]; i < FIRST[ROWS + 1]; ++i) {
        Vector own[R];
        for (int r = 0; r < R; ++r) own[r] = w[r][i];
        for (int j = FIRST[COLUMNS]; j < (ROWS == COLUMNS ? i + 1 : FIRST[COLUMNS + 1]); ++j) {
            Vector sum = hessian[i][j];
            for (int r = 0; r < R; ++r) sum += own[r] * w[r][j];
            hessian[i][j] = sum;
        }
    }
}

// Which blocks of dofs contacts couple, each named by the lower one and the upper one.
struct Couplings {
    bool free_robot = false, part_robot = false, part_free = false;
};

template <int ROWS, int COLUMNS>
void clear(Vector (*matrix)[NV]) {
    for (int i = FIRST[ROWS]; i < FIRST[ROWS + 1]; ++i)
        for (int j = FIRST[COLUMNS]; j < FIRST[COLUMNS + 1]; ++j) matrix[i][j] = Vector{};
}

// Zeros of the blocks between those that are solved together.
void clear_between(const Couplings& couplings, Vector (*matrix)[NV]) {
    if (couplings.part_robot || (couplings.free_robot && couplings.part_free)) {
        clear<1, 0>(matrix);
        clear<2, 0>(matrix);
        clear<2, 1>(matrix);
    } else if (couplings.free_robot) {
        clear<1, 0>(matrix);
    } else if (couplings.part_free) {
        clear<2, 1>(matrix);
    }
}

void solve_coupled(const Couplings& couplings, Vector (*matrix)[NV], Vector* x) {
    if (couplings.part_robot || (couplings.free_robot && couplings.part_free)) {
        solve_in_place<0, NV>(matrix, x);
    } else if (couplings.free_robot) {
        solve_in_place<FIRST[0], FIRST[2]>(matrix, x);
        solve_in_place<FIRST[2], FIRST[3]>(matrix, x);
    } else if (couplings.part_free) {
        solve_in_place<FIRST[0], FIRST[1]>(matrix, x);
        solve_in_place<FIRST[1], FIRST[3]>(matrix, x);
    } else {
        solve_in_place<FIRST[0], FIRST[1]>(matrix, x);
        solve_in_place<FIRST[1], FIRST[2]>(matrix, x);
        solve_in_place<FIRST[2], FIRST[3]>(matrix, x);
    }
}

// The lower triangles of the diagonal blocks.
void copy_blocks(const Vector (*from)[NV], Vector (*to)[NV]) {
    for (int b = 0; b < BLOCKS; ++b)
        for (int i = FIRST[b]; i < FIRST[b + 1]; ++i)
            for (int j = FIRST[b]; j <= i; ++j) to[i][j] = from[i][j];
}

// Both matrices have their diagonal blocks alone, the second the lower triangles of these.
struct Smooth {
    Vector mass[NV][NV];
    Vector hessian[NV][NV];  // the mass matrix plus the weld's J^T D J
    Vector force[NV];        // qfrc_smooth
    Vector weld_jac[WELD][ARM], weld_d[WELD], weld_aref[WELD];
    Vector limit_jac[NV], limit_d[NV], limit_aref[NV];
};

// M x, where the mass matrix is block diagonal.
void apply_mass(const Smooth& smooth, const Vector* x, Vector* product) {
    for (int b = 0; b < BLOCKS; ++b) {
        for (int i = FIRST[b]; i < FIRST[b + 1]; ++i) {
            Vector sum{};
            for (int j = FIRST[b]; j < FIRST[b + 1]; ++j) sum += smooth.mass[i][j] * x[j];
            product[i] = sum;
        }
    }
}

void weld_residual(const Smooth& smooth, const Vector* qacc, Vector* residual) {
    for (int r = 0; r < WELD; ++r) {
        Vector sum{};
        for (int i = 0; i < ARM; ++i) sum += smooth.weld_jac[r][i] * qacc[i];
        residual[r] = sum - smooth.weld_aref[r];
    }
}

// Cost of an acceleration without the contacts', up to a constant.
Vector smooth_cost(const Smooth& smooth, const Vector* qacc) {
    Vector momentum[NV], weld[WELD], cost{};
    apply_mass(smooth, qacc, momentum);
    weld_residual(smooth, qacc, weld);
    for (int i = 0; i < NV; ++i) cost += qacc[i] * (0.5f * momentum[i] - smooth.force[i]);
    for (int r = 0; r < WELD; ++r) cost += 0.5f * smooth.weld_d[r] * weld[r] * weld[r];
    for (int i = 0; i < NV; ++i) {
        const Vector limit = minimum(smooth.limit_jac[i] * qacc[i] - smooth.limit_aref[i], Vector{});
        cost += 0.5f * smooth.limit_d[i] * limit * limit;
    }
    return cost;
}

template <bool WHOLE>
void load_smooth(const Place<WHOLE>& at, const Arrays& arrays, Smooth& smooth) {
    const float* blocks[BLOCKS] = {arrays.robot, arrays.free_body, arrays.part};
    for (int i = 0; i < NV; ++i) {
        smooth.force[i] = at.load(arrays.qfrc_smooth, i);
        smooth.limit_jac[i] = at.load(arrays.limit_jac, i);
        smooth.limit_d[i] = at.load(arrays.limit_d, i);
        smooth.limit_aref[i] = at.load(arrays.limit_aref, i);
    }
    for (int b = 0; b < BLOCKS; ++b) {
        const int first = FIRST[b], size = FIRST[b + 1] - first;
        for (int i = 0; i < size; ++i)
            for (int j = 0; j < size; ++j) smooth.mass[first + i][first + j] = at.load(blocks[b], i * size + j);
    }
    copy_blocks(smooth.mass, smooth.hessian);
    for (int r = 0; r < WELD; ++r) {
        smooth.weld_d[r] = at.load(arrays.weld_d, r);
        smooth.weld_aref[r] = at.load(arrays.weld_aref, r);
        for (int i = 0; i < ARM; ++i) smooth.weld_jac[r][i] = at.load(arrays.weld_jac, r * ARM + i);
        for (int i = 0; i < ARM; ++i) {
            const Vector weighted = smooth.weld_d[r] * smooth.weld_jac[r][i];
            for (int j = 0; j <= i; ++j) smooth.hessian[i][j] += weighted * smooth.weld_jac[r][j];
        }
    }
}

template <int R, bool WHOLE>
bool touches(const Place<WHOLE>& at, const float* jac, std::int64_t row, int block) {
    Mask found{};
    for (int r = 0; r < R; ++r)
        for (int i = FIRST[block]; i < FIRST[block + 1]; ++i) found |= at.load(jac, (row + r) * NV + i) != 0.0f;
    return any(found);
}

// Adds slope and curvature of a contact's cost at a step.
template <int R>
void line_derivatives(const Contact<R>& contact, Vector step, Vector& first, Vector& second) {
    Vector jaref[R];
    for (int r = 0; r < R; ++r) jaref[r] = contact.jaref[r] + step * contact.jv[r];
    const Zone zone = zone_of<R>(jaref, contact.mu);
    Vector work{}, squared{};
    for (int r = 1; r < R; ++r) {
        work += jaref[r] * contact.jv[r];
        squared += contact.jv[r] * contact.jv[r];
    }
    const Vector normal = contact.jv[0], per_length = 1.0f / maximum(zone.tangent, all(TINY));
    const Vector turned = work * per_length;
    const Vector bend = maximum(squared - turned * turned, Vector{}) * per_length;
    const Vector gap = zone.normal - contact.mu * zone.tangent, gap_slope = normal - contact.mu * turned;
    first += by_zone(zone, contact.d * (zone.normal * normal + work), contact.cone_d * gap * gap_slope);
    second += by_zone(zone, contact.d * (normal * normal + squared),
                      contact.cone_d * (gap_slope * gap_slope - gap * contact.mu * bend));
}

template <int R, bool WHOLE>
void solve_lanes(const Place<WHOLE>& at, const Arrays& arrays, int rows, const Settings& settings,
                 Contact<R>* contacts) {
    Smooth smooth;
    load_smooth(at, arrays, smooth);
    const Mask own_contacts = at.load(arrays.num_contacts, 0);
    int count = 0;
    for (int i = 0; i < LANES; ++i) count = std::max(count, std::min(own_contacts[i], rows));

    // --- the start: the cheaper of the warm start and the unconstrained acceleration ---
    Vector qacc[NV], unconstrained[NV];
    for (int i = 0; i < NV; ++i) {
        qacc[i] = at.load(arrays.warmstart, i);
        unconstrained[i] = smooth.force[i];
    }
    Vector matrix[NV][NV];
    copy_blocks(smooth.mass, matrix);
    solve_coupled(Couplings{}, matrix, unconstrained);
    Vector warm_cost = smooth_cost(smooth, qacc), other_cost = smooth_cost(smooth, unconstrained);
    Couplings couplings;
    for (int c = 0; c < count; ++c) {
        Contact<R>& contact = contacts[c];
        contact.d = at.load(arrays.contact_d, c);
        contact.mu = at.load(arrays.contact_mu, c);
        contact.cone_d = contact.d / (1.0f + contact.mu * contact.mu);
        for (int b = 0; b < BLOCKS; ++b) contact.touches[b] = touches<R>(at, arrays.contact_jac, c * R, b);
        couplings.free_robot |= contact.touches[1] && contact.touches[0];
        couplings.part_robot |= contact.touches[2] && contact.touches[0];
        couplings.part_free |= contact.touches[2] && contact.touches[1];
        products<R>(at, arrays.contact_jac, c * R, contact.touches, qacc, contact.jaref);
        products<R>(at, arrays.contact_jac, c * R, contact.touches, unconstrained, contact.jv);
        for (int r = 0; r < R; ++r) {
            const Vector aref = at.load(arrays.contact_aref, c * R + r);
            contact.jaref[r] -= aref;
            contact.jv[r] -= aref;
        }
        warm_cost += cost_of(contact, contact.jaref);
        other_cost += cost_of(contact, contact.jv);
    }
    const Mask warmer = warm_cost <= other_cost;
    for (int i = 0; i < NV; ++i) qacc[i] = choose(warmer, qacc[i], unconstrained[i]);
    for (int c = 0; c < count; ++c)
        for (int r = 0; r < R; ++r) contacts[c].jaref[r] = choose(warmer, contacts[c].jaref[r], contacts[c].jv[r]);

    Mask converged{}, iterations{};
    for (int iteration = 0; iteration < settings.iterations && any(~converged); ++iteration) {
        // --- gradient and Hessian ---
        Vector smooth_gradient[NV], gradient[NV], limit[NV], weld[WELD];
        apply_mass(smooth, qacc, smooth_gradient);
        weld_residual(smooth, qacc, weld);
        for (int r = 0; r < WELD; ++r) {
            const Vector force = smooth.weld_d[r] * weld[r];
            for (int i = 0; i < ARM; ++i) smooth_gradient[i] += smooth.weld_jac[r][i] * force;
        }
        copy_blocks(smooth.hessian, matrix);
        clear_between(couplings, matrix);
        for (int i = 0; i < NV; ++i) {
            smooth_gradient[i] -= smooth.force[i];
            limit[i] = smooth.limit_jac[i] * qacc[i] - smooth.limit_aref[i];
            const Vector weight = choose(limit[i] < 0.0f, smooth.limit_d[i], Vector{});
            gradient[i] = smooth_gradient[i] + smooth.limit_jac[i] * weight * limit[i];
            matrix[i][i] += weight;
        }
        for (int c = 0; c < count; ++c) {
            const Contact<R>& contact = contacts[c];
            const Vector *jaref = contact.jaref, mu = contact.mu;
            const Zone zone = zone_of<R>(jaref, mu);
            const Vector length = maximum(zone.tangent, all(TINY));
            const Vector root_d = root(contact.d), root_c = root(contact.cone_d);
            const Vector root_q =
                root(maximum(contact.cone_d * mu * (mu * zone.tangent - zone.normal) / length, Vector{}));
            const Vector pull = contact.cone_d * (zone.normal - mu * zone.tangent);
            const Vector tangent_own = by_zone(zone, root_d, root_q);
            const Vector tangent_along = by_zone(zone, Vector{}, -root_q / (length * length));
            const Vector tangent_force = by_zone(zone, -contact.d, pull * mu / length);
            Vector own[R], along[R], force[R], w[R][NV];
            own[0] = by_zone(zone, root_d, root_c);
            along[0] = by_zone(zone, Vector{}, -root_c * mu / length);
            force[0] = by_zone(zone, -contact.d * zone.normal, -pull);
            for (int r = 1; r < R; ++r) {
                own[r] = tangent_own;
                along[r] = tangent_along * jaref[r];
                force[r] = tangent_force * jaref[r];
            }
            const bool* in = contact.touches;
            const float* jac = arrays.contact_jac;
            if (in[0]) weigh<R, 0>(at, jac, c * R, jaref, own, along, force, w, gradient);
            if (in[1]) weigh<R, 1>(at, jac, c * R, jaref, own, along, force, w, gradient);
            if (in[2]) weigh<R, 2>(at, jac, c * R, jaref, own, along, force, w, gradient);
            if (in[0]) add_square<R, 0, 0>(w, matrix);
            if (in[1]) add_square<R, 1, 1>(w, matrix);
            if (in[2]) add_square<R, 2, 2>(w, matrix);
            if (in[1] && in[0]) add_square<R, 1, 0>(w, matrix);
            if (in[2] && in[0]) add_square<R, 2, 0>(w, matrix);
            if (in[2] && in[1]) add_square<R, 2, 1>(w, matrix);
        }

        // --- Newton's direction, and what it changes ---
        Vector search[NV], limit_jv[NV], bent[NV], initial{}, slope{}, curvature{}, small{};
        for (int i = 0; i < NV; ++i) search[i] = -gradient[i];
        solve_coupled(couplings, matrix, search);
        Mask in_zones = ~Mask{};
        for (int i = 0; i < NV; ++i) {
            limit_jv[i] = smooth.limit_jac[i] * search[i];
            in_zones &= ((limit[i] < 0.0f) == (limit[i] + limit_jv[i] < 0.0f)) | (smooth.limit_d[i] == 0.0f);
            initial -= search[i] * gradient[i];
            slope += search[i] * smooth_gradient[i];
            small = maximum(small, magnitude(search[i]) / (1.0f + magnitude(qacc[i])));
        }
        for (int c = 0; c < count; ++c) {
            Contact<R>& contact = contacts[c];
            products<R>(at, arrays.contact_jac, c * R, contact.touches, search, contact.jv);
            Vector jaref[R];
            for (int r = 0; r < R; ++r) jaref[r] = contact.jaref[r] + contact.jv[r];
            in_zones &= stays(contact, jaref);
        }

        // --- the minimum along it, by Newton's method on the slope inside a bracket ---
        Vector step = all(1.0f);
        const Mask needed = ~(in_zones | converged);
        if (any(needed)) {
            apply_mass(smooth, search, bent);
            for (int i = 0; i < NV; ++i) curvature += search[i] * bent[i];
            for (int r = 0; r < WELD; ++r) {
                Vector sum{};
                for (int i = 0; i < ARM; ++i) sum += smooth.weld_jac[r][i] * search[i];
                curvature += smooth.weld_d[r] * sum * sum;
            }
            // A step that is small enough as a whole needs no search, whose slopes would only be rounding errors.
            const Mask full = ~needed | (small <= settings.tolerance);
            Vector lower{}, lower_slope = initial, upper = all(INFINITE), upper_slope = all(INFINITE);
            for (int search_step = 0; search_step < settings.searches; ++search_step) {
                const Mask found = full | (minimum(lower_slope, upper_slope) <= settings.flat * initial);
                if (!any(~found)) break;
                Vector first = slope + step * curvature, second = curvature;
                for (int i = 0; i < NV; ++i) {
                    const Vector here = limit[i] + step * limit_jv[i];
                    const Vector weight = choose(here < 0.0f, smooth.limit_d[i], Vector{}) * limit_jv[i];
                    first += weight * here;
                    second += weight * limit_jv[i];
                }
                for (int c = 0; c < count; ++c) line_derivatives(contacts[c], step, first, second);
                const Mask falling = first < 0.0f, moves = ~found;
                lower = choose(moves & falling, step, lower);
                lower_slope = choose(moves & falling, -first, lower_slope);
                upper = choose(moves & ~falling, step, upper);
                upper_slope = choose(moves & ~falling, first, upper_slope);
                const Vector newton = step - first / second;
                const Vector bisection = choose(upper == INFINITE, 2.0f * step, 0.5f * (lower + upper));
                step = choose(moves, choose((newton > lower) & (newton < upper), newton, bisection), step);
            }
            step = choose(full, all(1.0f), choose(upper_slope < lower_slope, upper, lower));

            // --- a step must not raise the cost ---
            Vector scale{}, change = step * slope + 0.5f * step * step * curvature;
            Mask remains = ~Mask{};
            for (int pass = 0; pass < 2; ++pass) {  // the costs at the step, then the zones at that which is taken
                for (int c = 0; c < count; ++c) {
                    const Contact<R>& contact = contacts[c];
                    Vector jaref[R];
                    for (int r = 0; r < R; ++r) jaref[r] = contact.jaref[r] + step * contact.jv[r];
                    if (pass) {
                        remains &= stays(contact, jaref);
                    } else {
                        const Vector before = cost_of(contact, contact.jaref);
                        scale += before;
                        change += cost_of(contact, jaref) - before;
                    }
                }
                for (int i = 0; i < NV; ++i) {
                    const Vector then = limit[i] + step * limit_jv[i];
                    if (pass) {
                        remains &= ((limit[i] < 0.0f) == (then < 0.0f)) | (smooth.limit_d[i] == 0.0f);
                    } else {
                        const Vector now = minimum(limit[i], Vector{}), after = minimum(then, Vector{});
                        const Vector before = 0.5f * smooth.limit_d[i] * now * now;
                        scale += before;
                        change += 0.5f * smooth.limit_d[i] * after * after - before;
                    }
                }
                if (!pass) {
                    const Mask allowed = change <= settings.rounding * (scale + magnitude(step * slope));
                    step = choose(~needed | allowed, step, lower);
                }
            }
            in_zones = (needed & remains) | (~needed & in_zones);
        }

        // Where every row was in a quadratic zone and still is in the same one, a full step ends at the optimum.
        const Mask moves = ~converged;
        for (int c = 0; c < count; ++c) {
            for (int r = 0; r < R; ++r) {
                const Vector before = contacts[c].jaref[r];
                contacts[c].jaref[r] = choose(moves, before + step * contacts[c].jv[r], before);
            }
        }
        for (int i = 0; i < NV; ++i) qacc[i] = choose(moves, qacc[i] + step * search[i], qacc[i]);
        iterations -= moves;
        converged |= (in_zones & (step == 1.0f)) | (step * small <= settings.tolerance);
    }

    Vector momentum[NV];
    apply_mass(smooth, qacc, momentum);
    for (int i = 0; i < NV; ++i) {
        at.store(arrays.qacc, i, qacc[i]);
        at.store(arrays.qfrc_constraint, i, momentum[i] - smooth.force[i]);
    }
    for (int c = 0; c < rows; ++c) {
        Vector force{};
        if (c < count) {
            const Contact<R>& contact = contacts[c];
            const Zone zone = zone_of<R>(contact.jaref, contact.mu);
            const Vector pull = contact.cone_d * (zone.normal - contact.mu * zone.tangent);
            force = by_zone(zone, -contact.d * zone.normal, -pull);
        }
        at.store(arrays.normal_force, c, force);
    }
    at.store(arrays.iterations, 0, iterations);
}

template <int R>
void solve(const Arrays& arrays, std::int64_t width, int rows, const Settings& settings, Contact<R>* contacts) {
    for_lanes(width, [&](const auto& at) { solve_lanes<R>(at, arrays, rows, settings, contacts); });
}

constexpr int OPERANDS = 16, RESULTS = 4, CONTACT_JAC = 10;
constexpr int OPERAND_AXES[OPERANDS] = {3, 3, 3, 2, 3, 2, 2, 2, 2, 2, 4, 2, 3, 2, 1, 2};
constexpr int RESULT_AXES[RESULTS] = {2, 2, 2, 1};

}  // namespace

extern "C" XLA_FFI_Error* newton(XLA_FFI_CallFrame* frame) {
    if (tells_version(frame)) return nullptr;
    if (frame->args.size != OPERANDS || frame->rets.size != RESULTS) return fail(frame, "newton: wrong operands");
    Settings settings;
    if (!read(frame, "iterations", XLA_FFI_DataType_S32, settings.iterations) ||
        !read(frame, "searches", XLA_FFI_DataType_S32, settings.searches) ||
        !read(frame, "tolerance", XLA_FFI_DataType_F32, settings.tolerance) ||
        !read(frame, "flat", XLA_FFI_DataType_F32, settings.flat) ||
        !read(frame, "rounding", XLA_FFI_DataType_F32, settings.rounding)) {
        return fail(frame, "newton: wrong attributes");
    }
    const Call<OPERANDS, RESULTS> call(frame, OPERAND_AXES, RESULT_AXES);
    const auto size = [&](int from_last) { return call.operand_axis(CONTACT_JAC, from_last); };
    const std::int64_t width = size(0), dofs = size(1), contact_rows = size(2), rows = size(3);
    if (dofs != NV || (contact_rows != 4 && contact_rows != 6)) return fail(frame, "newton: wrong contact rows");

    const auto of_four = std::make_unique<Contact<4>[]>(contact_rows == 4 ? rows : 0);
    const auto of_six = std::make_unique<Contact<6>[]>(contact_rows == 6 ? rows : 0);
    for (std::int64_t tile = 0; tile < call.tiles; ++tile) {
        const auto input = [&](int i) { return call.operand(i, tile); };
        const auto result = [&](int i) { return call.result(i, tile); };
        const Arrays arrays = {
            input(0),  input(1),  input(2),  input(3),  input(4),  input(5),  input(6),  input(7), input(8),
            input(9),  input(10), input(11), input(12), input(13), call.operand<std::int32_t>(14, tile),
            input(15), result(0), result(1), result(2), call.result<std::int32_t>(3, tile),
        };
        if (contact_rows == 4) {
            solve<4>(arrays, width, static_cast<int>(rows), settings, of_four.get());
        } else {
            solve<6>(arrays, width, static_cast<int>(rows), settings, of_six.get());
        }
    }
    return nullptr;
}
