using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers;

/// <summary>
/// Starting values. Each parameter draws from its own sequence, keyed by seed and full name, so the order of construction does not matter.
/// </summary>
public static class Initializer
{
    /// <summary>
    /// Sets every parameter of a module: filters Kaiming-normal by fan-out (He et al., 2015: σ = √(2/(out·taps))), matrices and biases uniform in ±1/√in, as is usual for
    /// linear layers, γ and running variances 1, β and running means 0.
    /// </summary>
    public static void Initialize(Module module, ulong seed)
    {
        Dictionary<string, int> fanIn = module.Parameters
            .Where(parameter => parameter.Role == ParameterRole.Weight)
            .ToDictionary(parameter => Owner(parameter.Name), parameter => parameter.Columns * parameter.Taps);
        foreach (Parameter parameter in module.Parameters)
        {
            Device device = parameter.Value.Device;
            Shape shape = parameter.Shape;
            DeviceBuffer buffer = parameter.Value.Buffer;
            RandomKey key = new(seed, parameter.TensorId, 0);
            switch (parameter.Role)
            {
                case ParameterRole.Weight when shape.Rank == 4:
                    device.Random.Normal(shape, key, 0, MathF.Sqrt(2f / (parameter.Rows * parameter.Taps)), buffer);
                    break;
                case ParameterRole.Weight or ParameterRole.Bias:
                    float bound = 1 / MathF.Sqrt(fanIn.GetValueOrDefault(Owner(parameter.Name), 1));
                    device.Random.Uniform(shape, key, -bound, bound, buffer);
                    break;
                default:
                    float value = parameter.Role is ParameterRole.NormalizationScale or ParameterRole.RunningVariance ? 1 : 0;
                    device.Elementwise.Fill(shape, buffer, value);
                    break;
            }
        }
    }

    private static string Owner(string name) => name.Contains('.') ? name[..name.LastIndexOf('.')] : "";
}
