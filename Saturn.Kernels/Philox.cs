using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Saturn.Kernels.Families;

namespace Saturn.Kernels;

/// <summary>
/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): a bijection of 128-bit counters that depends on a 64-bit
/// key. Sixteen counters are computed side by side; everything uses integer arithmetic and correctly rounded operations only, so every machine gives the same bits.
/// </summary>
public static class Philox
{
    private const uint Multiplier0 = 0xD2511F53;
    private const uint Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9;
    private const uint Weyl1 = 0xBB67AE85;
    private const int Rounds = 10;

    /// <summary>
    /// The key of a step of a run: the first two words of the block with counter (step low, step high, 0, 0) under the key (seed low, seed high). The stream is part of the counters.
    /// </summary>
    public static (uint Key0, uint Key1) DeriveKey(ulong seed, ulong step)
    {
        (uint a, uint b, _, _) = Block((uint)step, (uint)(step >> 32), 0, 0, (uint)seed, (uint)(seed >> 32));
        return (a, b);
    }

    /// <summary>One block: four words from a counter and a key.</summary>
    public static (uint Word0, uint Word1, uint Word2, uint Word3) Block(uint counter0, uint counter1, uint counter2, uint counter3, uint key0, uint key1)
    {
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * counter0;
            ulong product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) = (
                (uint)(product1 >> 32) ^ counter1 ^ key0, (uint)product1, (uint)(product0 >> 32) ^ counter3 ^ key1, (uint)product0);
            key0 += Weyl0;
            key1 += Weyl1;
        }

        return (counter0, counter1, counter2, counter3);
    }

    /// <summary>A word as a uniform number in [0, 1): its upper 24 bits, times 2⁻²⁴.</summary>
    public static float ToUniform(uint word) => (word >> 8) * (1f / 16777216);

    /// <summary>The standard normal number of element <paramref name="index"/>: lane index mod 4 of counter (index div 4, counter1, counter2, counter3).</summary>
    public static float Normal(uint index, uint counter1, uint counter2, uint counter3, uint key0, uint key1) =>
        Normals(Vector512.Create(index), counter1, counter2, counter3, key0, key1).ToScalar();

    /// <summary>The words of sixteen elements: lane index mod 4 of counter (index div 4, counter1, counter2, counter3).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<uint> Words(Vector512<uint> indices, uint counter1, uint counter2, uint counter3, uint key0, uint key1)
    {
        Blocks(indices >> 2, counter1, counter2, counter3, key0, key1, out var word0, out var word1, out var word2, out var word3);
        Vector512<uint> odd = Vector512.Equals(indices & Vector512.Create(1u), Vector512.Create(1u));
        Vector512<uint> upper = Vector512.Equals(indices & Vector512.Create(2u), Vector512.Create(2u));
        return Vector512.ConditionalSelect(
            upper, Vector512.ConditionalSelect(odd, word3, word2), Vector512.ConditionalSelect(odd, word1, word0));
    }

    /// <summary>Sixteen uniforms in [0, 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Uniforms(Vector512<uint> indices, uint counter1, uint counter2, uint counter3, uint key0, uint key1) =>
        Vector512.ConvertToSingle((Words(indices, counter1, counter2, counter3, key0, key1) >> 8).AsInt32()) * (1f / 16777216);

    /// <summary>
    /// Sixteen standard normals by Box and Muller (1958): words 0 and 1 of a block give √(−2 ln u)·(cos 2πv, sin 2πv), words 2 and 3 likewise. u lies in (0, 1] in steps of 2⁻²⁴, so the tails reach
    /// 5.7 standard deviations.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Normals(Vector512<uint> indices, uint counter1, uint counter2, uint counter3, uint key0, uint key1)
    {
        Blocks(indices >> 2, counter1, counter2, counter3, key0, key1, out var word0, out var word1, out var word2, out var word3);
        Vector512<uint> upper = Vector512.Equals(indices & Vector512.Create(2u), Vector512.Create(2u));
        Vector512<uint> radiusWord = Vector512.ConditionalSelect(upper, word2, word0);
        Vector512<uint> angleWord = Vector512.ConditionalSelect(upper, word3, word1);
        Vector512<float> u = Vector512.ConvertToSingle(((radiusWord >> 8) + Vector512.Create(1u)).AsInt32()) * (1f / 16777216);
        Vector512<float> radius = Vector512.Sqrt(NaturalLogarithm(u) * -2f);

        // The sine of an angle is the cosine a quarter turn earlier: odd elements subtract 2²² from a 24-bit fraction of a turn.
        Vector512<uint> quarter = Vector512.Equals(indices & Vector512.Create(1u), Vector512.Create(1u)) & Vector512.Create(1u << 22);
        Vector512<uint> turn = ((angleWord >> 8) - quarter) & Vector512.Create(0xFFFFFFu);
        return radius * CosineOfTurn(turn);
    }

    private static void Blocks(
        Vector512<uint> counter0, uint c1, uint c2, uint c3, uint key0, uint key1, out Vector512<uint> word0, out Vector512<uint> word1, out Vector512<uint> word2,
        out Vector512<uint> word3)
    {
        word0 = counter0;
        word1 = Vector512.Create(c1);
        word2 = Vector512.Create(c2);
        word3 = Vector512.Create(c3);
        for (int round = 0; round < Rounds; round++)
        {
            Multiply(word0, Multiplier0, out Vector512<uint> high0, out Vector512<uint> low0);
            Multiply(word2, Multiplier1, out Vector512<uint> high1, out Vector512<uint> low1);
            word0 = high1 ^ word1 ^ Vector512.Create(key0);
            word1 = low1;
            word2 = high0 ^ word3 ^ Vector512.Create(key1);
            word3 = low0;
            key0 += Weyl0;
            key1 += Weyl1;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply(Vector512<uint> value, uint multiplier, out Vector512<uint> high, out Vector512<uint> low)
    {
        Vector512<ulong> lowerHalf = Vector512.Create(0xFFFFFFFFul);
        Vector512<ulong> even = Product(value.AsUInt64() & lowerHalf, multiplier);
        Vector512<ulong> odd = Product(value.AsUInt64() >> 32, multiplier);
        low = ((even & lowerHalf) | (odd << 32)).AsUInt32();
        high = ((even >> 32) | (odd & ~lowerHalf)).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Product(Vector512<ulong> value, uint multiplier) =>
        Avx512F.IsSupported ? Avx512F.Multiply(value.AsUInt32(), Vector512.Create((ulong)multiplier).AsUInt32()) : value * Vector512.Create((ulong)multiplier);

    /// <summary>ln u for u in (0, 1]: u = m·2ᵉ with m in [√½, √2), ln m = 2·artanh(s) with s = (m − 1)/(m + 1), by its series up to s⁹.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> NaturalLogarithm(Vector512<float> u)
    {
        Vector512<int> bits = u.AsInt32();
        Vector512<int> exponent = (bits - Vector512.Create(0x3F3504F3)) >> 23;
        Vector512<float> m = (bits - (exponent << 23)).AsSingle();
        Vector512<float> one = Vector512<float>.One;
        Vector512<float> s = (m - one) / (m + one);
        Vector512<float> z = s * s;
        Vector512<float> series = Vector512.FusedMultiplyAdd(z, Vector512.Create(2f / 9), Vector512.Create(2f / 7));
        series = Vector512.FusedMultiplyAdd(series, z, Vector512.Create(2f / 5));
        series = Vector512.FusedMultiplyAdd(series, z, Vector512.Create(2f / 3));
        Vector512<float> logarithm = Vector512.FusedMultiplyAdd(series * z, s, s + s);
        return Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(exponent), Vector512.Create(0.69314718f), logarithm);
    }

    /// <summary>cos(2π·turn/2²⁴): reduced to an eighth of a turn around the nearest quarter, then the Taylor series of cosine or sine.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> CosineOfTurn(Vector512<uint> turn)
    {
        Vector512<uint> quadrant = (turn + Vector512.Create(1u << 21)) >> 22;
        Vector512<int> rest = turn.AsInt32() - (quadrant << 22).AsInt32();
        Vector512<float> x = Vector512.ConvertToSingle(rest) * 3.7450704e-7f;
        Vector512<float> z = x * x;
        Vector512<float> sine = Vector512.FusedMultiplyAdd(z, Vector512.Create(2.7557319e-6f), Vector512.Create(-1.9841270e-4f));
        sine = Vector512.FusedMultiplyAdd(sine, z, Vector512.Create(8.3333333e-3f));
        sine = Vector512.FusedMultiplyAdd(sine, z, Vector512.Create(-1.6666667e-1f));
        sine = Vector512.FusedMultiplyAdd(sine * z, x, x);
        Vector512<float> cosine = Vector512.FusedMultiplyAdd(z, Vector512.Create(2.4801587e-5f), Vector512.Create(-1.3888889e-3f));
        cosine = Vector512.FusedMultiplyAdd(cosine, z, Vector512.Create(4.1666667e-2f));
        cosine = Vector512.FusedMultiplyAdd(cosine, z, Vector512.Create(-0.5f));
        cosine = Vector512.FusedMultiplyAdd(cosine, z, Vector512<float>.One);

        // Quadrants 0 to 3: cos x, −sin x, −cos x, sin x.
        Vector512<uint> one = Vector512.Create(1u);
        Vector512<float> value = Vector512.ConditionalSelect(Vector512.Equals(quadrant & one, one).AsSingle(), sine, cosine);
        Vector512<uint> negative = ((quadrant + one) & Vector512.Create(2u)) << 30;
        return (value.AsUInt32() ^ negative).AsSingle();
    }
}

/// <summary>Consecutive random numbers of one key, for code that draws one at a time on the host: shuffling, augmentation, synthetic data.</summary>
/// <param name="key0">First word of the key of run and step (<see cref="Philox.DeriveKey"/>).</param>
/// <param name="key1">Second word.</param>
/// <param name="stream">What the numbers are for.</param>
/// <param name="element">What they are for inside the step, such as an image's number.</param>
public struct PhiloxSequence(uint key0, uint key1, uint stream, uint element)
{
    private (uint Word0, uint Word1, uint Word2, uint Word3) block;
    private uint drawn;

    /// <summary>The numbers of a key.</summary>
    /// <param name="key">Which run, use and step.</param>
    /// <param name="element">What the numbers are for inside the step, such as an image's number.</param>
    public PhiloxSequence(RandomKey key, uint element = 0)
        : this(Philox.DeriveKey(key.Seed, key.Step), key.Stream, element)
    {
    }

    private PhiloxSequence((uint Key0, uint Key1) derived, uint stream, uint element)
        : this(derived.Key0, derived.Key1, stream, element)
    {
    }

    /// <summary>The next word: lane n mod 4 of counter (n div 4, element, 0, stream) for the n-th number drawn.</summary>
    public uint NextUInt32()
    {
        uint lane = drawn & 3;
        if (lane == 0)
        {
            block = Philox.Block(drawn >> 2, element, 0, stream, key0, key1);
        }

        drawn++;
        return lane switch { 0 => block.Word0, 1 => block.Word1, 2 => block.Word2, _ => block.Word3 };
    }

    /// <summary>A uniform number in [0, 1).</summary>
    public float NextUniform() => Philox.ToUniform(NextUInt32());

    /// <summary>A uniform integer in 0 … bound − 1, without bias: words that would favour small results are passed over (Lemire, 2019).</summary>
    public int NextInteger(int bound)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bound, 1);
        uint limit = (uint)bound;
        uint threshold = (0u - limit) % limit;
        while (true)
        {
            ulong product = (ulong)NextUInt32() * limit;
            if ((uint)product >= threshold)
            {
                return (int)(product >> 32);
            }
        }
    }
}
