using System.Runtime.InteropServices;
using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>How filters start; fan-in and fan-out are inputs and outputs of a filter times its taps (He et al., "Delving Deep into Rectifiers", 2015).</summary>
public enum FilterInitialization
{
    /// <summary>N(0, 2/fan-out), as in torchvision's residual and VGG networks.</summary>
    KaimingNormalFanOut,

    /// <summary>N(0, 2/fan-in).</summary>
    KaimingNormalFanIn,

    /// <summary>Normal values redrawn while they lie beyond two standard deviations, widened so that the variance is 2/fan-in all the same.</summary>
    TruncatedNormalFanIn,
}

/// <summary>
/// Starting values. Each parameter draws from its own sequence, keyed by seed and full name, so the order of construction does not matter.
/// </summary>
public static class Initializer
{
    // As usual for position embeddings (Dosovitskiy et al., "An Image Is Worth 16×16 Words", 2021).
    private const float EmbeddingDeviation = 0.02f;

    // The standard deviation of a standard normal that is cut off at ±2.
    private const double TruncatedDeviation = 0.87962566103423978;

    /// <summary>
    /// Sets every parameter of a module: filters as asked, matrices and biases uniform in ±1/√in, as is usual for linear layers, position embeddings N(0, 0.02²), γ and running variances 1, β and
    /// running means 0.
    /// </summary>
    public static void Initialize(Module module, ulong seed, FilterInitialization filters = FilterInitialization.KaimingNormalFanOut)
    {
        Dictionary<string, int> fanIn = module.Parameters
            .Where(parameter => parameter.Role == ParameterRole.Weight)
            .ToDictionary(parameter => Owner(parameter.Name), parameter => parameter.Columns * parameter.Taps);
        foreach (Parameter parameter in module.Parameters)
        {
            Device device = parameter.Value.Device;
            Shape shape = parameter.Shape;
            DeviceBuffer buffer = parameter.Value.Buffer;
            switch (parameter.Role)
            {
                case ParameterRole.Weight when shape.Rank == 4:
                    FillFilter(parameter, seed, filters);
                    break;
                case ParameterRole.Weight or ParameterRole.Bias:
                    float bound = 1 / MathF.Sqrt(fanIn.GetValueOrDefault(Owner(parameter.Name), 1));
                    device.Random.Uniform(shape, KeyOf(parameter, seed), -bound, bound, buffer);
                    break;
                case ParameterRole.Embedding:
                    device.Random.Normal(shape, KeyOf(parameter, seed), 0, EmbeddingDeviation, buffer);
                    break;
                default:
                    float value = parameter.Role is ParameterRole.NormalizationScale or ParameterRole.RunningVariance ? 1 : 0;
                    device.Elementwise.Fill(shape, buffer, value);
                    break;
            }

            parameter.ValueChanged();
        }
    }

    private static void FillFilter(Parameter filter, ulong seed, FilterInitialization initialization)
    {
        double fan = (double)filter.Taps * (initialization == FilterInitialization.KaimingNormalFanOut ? filter.Rows : filter.Columns);
        float deviation = (float)Math.Sqrt(2 / fan);
        if (initialization == FilterInitialization.TruncatedNormalFanIn)
        {
            FillTruncated(filter, seed, deviation / (float)TruncatedDeviation);
        }
        else
        {
            filter.Value.Device.Random.Normal(filter.Shape, KeyOf(filter, seed), 0, deviation, filter.Value.Buffer);
        }
    }

    /// <summary>An element beyond ±2 takes its value of the next draw, and so on.</summary>
    private static void FillTruncated(Parameter filter, ulong seed, float deviation)
    {
        Device device = filter.Value.Device;
        float[] values = new float[filter.Shape.StorageCount];
        float[] draw = new float[values.Length];
        bool complete = false;
        for (ulong step = 0; !complete; step++)
        {
            device.Random.Normal(filter.Shape, KeyOf(filter, seed) with { Step = step }, 0, 1, filter.Value.Buffer);
            device.Download(filter.Value.Buffer, MemoryMarshal.AsBytes(draw.AsSpan()));
            complete = true;
            for (int i = 0; i < values.Length; i++)
            {
                if (step == 0 || Math.Abs(values[i]) > 2)
                {
                    values[i] = draw[i];
                    complete &= Math.Abs(draw[i]) <= 2;
                }
            }
        }

        for (int i = 0; i < values.Length; i++)
        {
            values[i] *= deviation;
        }

        filter.Value.CopyFromStored<float>(values);
    }

    private static RandomKey KeyOf(Parameter parameter, ulong seed) => new(seed, parameter.TensorId, 0);

    private static string Owner(string name) => name.Contains('.') ? name[..name.LastIndexOf('.')] : "";
}
