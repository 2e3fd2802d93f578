// What the parts of a fleet refer to, and how they are copied all the same.
//
// A part that is assigned another fleet's takes over its state, member by member, and stays a part of its own fleet: what
// it refers to lies in a base, which an assignment leaves as it is. So a member that is added later is copied too.
#pragma once

#include <memory>
#include <utility>

#include "arrays.hpp"

namespace tokenfleet {

class Demand;

struct ArraysLink {
    const FleetArrays& arrays_;

    explicit ArraysLink(const FleetArrays& arrays) : arrays_(arrays) {}
    ArraysLink(const ArraysLink&) = default;
    ArraysLink& operator=(const ArraysLink&) { return *this; }
};

struct DemandLink : ArraysLink {
    Demand& demand_;

    DemandLink(const FleetArrays& arrays, Demand& demand) : ArraysLink(arrays), demand_(demand) {}
    DemandLink(const DemandLink&) = default;
    DemandLink& operator=(const DemandLink&) { return *this; }
};

// An object, or none, that is copied with its owner; it lies apart, so that an owner without one is small.
template <typename T>
class Owned {
public:
    Owned() = default;
    Owned(const Owned& other) : object_(other.copy()) {}
    Owned(Owned&&) noexcept = default;
    Owned& operator=(Owned&&) noexcept = default;
    Owned& operator=(const Owned& other) {
        if (object_ && other.object_) {
            *object_ = *other.object_;  // in the memory that it has
        } else {
            object_ = other.copy();
        }
        return *this;
    }

    template <typename... Arguments>
    void make(Arguments&&... arguments) {
        object_ = std::make_unique<T>(std::forward<Arguments>(arguments)...);
    }

    explicit operator bool() const { return object_ != nullptr; }
    T* operator->() const { return object_.get(); }
    T& operator*() const { return *object_; }

private:
    std::unique_ptr<T> object_;

    std::unique_ptr<T> copy() const { return object_ ? std::make_unique<T>(*object_) : nullptr; }
};

}  // namespace tokenfleet
