using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Saturn.Emulator.Execution;

/// <summary>The 32 lanes of a register as vectors: two of 512 bits for 32-bit lanes, four for 64-bit ones. Writes touch the lanes of a mask only.</summary>
internal static unsafe class Lanes
{
    public const int Count = 32;
    public const uint All = 0xFFFFFFFF;

    /// <summary>Vectors that the lanes of a type take.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Vectors<T>()
        where T : unmanaged => Count / Vector512<T>.Count;

    /// <summary>All bits set in the elements of vector <paramref name="part"/> whose lanes are in the mask.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Mask<T>(int part, uint mask)
        where T : unmanaged
    {
        if (sizeof(T) == 4)
        {
            Vector512<uint> bits = Vector512.Create(1u, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);
            return Vector512.Equals(Vector512.Create(mask >> (part * 16)) & bits, bits).As<uint, T>();
        }
        else
        {
            Vector512<ulong> bits = Vector512.Create(1ul, 2, 4, 8, 16, 32, 64, 128);
            return Vector512.Equals(Vector512.Create((ulong)(mask >> (part * 8))) & bits, bits).As<ulong, T>();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Load<T>(byte* register, int part)
        where T : unmanaged => Vector512.Load((T*)register + part * Vector512<T>.Count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(byte* register, int part, Vector512<T> value, uint mask)
        where T : unmanaged
    {
        T* address = (T*)register + part * Vector512<T>.Count;
        if (mask != All)
        {
            value = Vector512.ConditionalSelect(Mask<T>(part, mask), value, Vector512.Load(address));
        }

        value.Store(address);
    }

    /// <summary>Writes the same value into all lanes.</summary>
    public static void Fill<T>(byte* register, T value)
        where T : unmanaged
    {
        for (int lane = 0; lane < Count; lane++)
        {
            ((T*)register)[lane] = value;
        }
    }
}
