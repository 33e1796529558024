// Small symmetric systems for LANES environments.
#pragma once

#include "vector.hpp"

namespace {

// Solves matrix x = right for the rows [FROM, TO) by L D L^T, of which only the lower triangle is read, and overwrites
// both.
template <int FROM, int TO, int SIZE>
void solve_in_place(Vector (*matrix)[SIZE], Vector* x) {
    Vector inverse[TO - FROM];
    for (int k = FROM; k < TO; ++k) {
        const Vector reciprocal = 1.0f / matrix[k][k];
        inverse[k - FROM] = reciprocal;
        for (int i = k + 1; i < TO; ++i) {
            const Vector scaled = matrix[i][k] * reciprocal;
            for (int j = k + 1; j <= i; ++j) matrix[i][j] -= scaled * matrix[j][k];
            x[i] -= scaled * x[k];
        }
    }
    for (int k = TO - 1; k >= FROM; --k) {
        Vector sum = x[k];
        for (int i = k + 1; i < TO; ++i) sum -= matrix[i][k] * x[i];
        x[k] = sum * inverse[k - FROM];
    }
}

}  // namespace
